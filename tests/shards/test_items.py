"""Items <-> (sample, window)."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fmrgb_stream.shards.items import ItemTable, SampleTable


@given(st.lists(st.lists(st.integers(1, 9), max_size=8), min_size=1, max_size=5))
def test_items_enumerate_every_window_of_every_sample(windows_by_shard):
    table = ItemTable([np.array(windows, dtype=np.int64) for windows in windows_by_shard])
    flat = [count for shard in windows_by_shard for count in shard]
    expected = [(sample, window) for sample, count in enumerate(flat) for window in range(count)]
    samples, windows = table.locate(np.arange(len(expected)))
    assert list(zip(samples, windows, strict=True)) == expected
    assert table.shard_sizes == [sum(shard) for shard in windows_by_shard]


def test_without_windows_items_are_samples():
    samples, windows = SampleTable([3, 2]).locate(np.array([4, 0]))
    assert samples.tolist() == [4, 0]
    assert windows.tolist() == [0, 0]
