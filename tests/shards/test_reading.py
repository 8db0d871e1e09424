"""What a training reads: row groups of sidecars, ranges of shards, through files kept open."""

import gc
import pickle
from pathlib import Path

import numpy as np
import pytest

from fmrgb_stream.errors import ManifestError, ShardNotFound
from fmrgb_stream.sample import PacketTable
from fmrgb_stream.shards import ShardReader, SplitEntry
from fmrgb_stream.shards.index import ShardIndex, index_to_parquet, read_column
from fmrgb_stream.shards.manifest import ROW_GROUP_SAMPLES, ShardEntry
from fmrgb_stream.storage import Store
from tests.support.samples import sample_info

NUM_ROWS = 2 * ROW_GROUP_SAMPLES + 7


def infos(num_rows=NUM_ROWS, *, first_offset=0):
    for row in range(num_rows):
        count = 1 + row % 5
        yield sample_info(
            key=f"sample-{row:04d}",
            num_frames=30 + row,
            packets=None
            if row % 7 == 3
            else PacketTable(
                offsets=first_offset + np.arange(count) * row,
                sizes=np.full(count, row + 1),
                is_key=np.arange(count) == 0,
                pts=np.arange(count) * 512 - row,
            ),
        )


@pytest.fixture(scope="module")
def sidecar():
    return index_to_parquet(list(infos()), metadata={})


@pytest.fixture
def root(tmp_path, sidecar):
    (tmp_path / "shard.parquet").write_bytes(sidecar)
    return tmp_path


def reader_of(root, num_samples=NUM_ROWS):
    entry = ShardEntry(
        path="shard.tar", num_samples=num_samples, num_bytes=1, sha256="", index_sha256=""
    )
    split = SplitEntry(shards=(entry,), duration_seconds=1.0, num_groups=1)
    return ShardReader(Store(root), split)


def assert_same_packets(got, want):
    assert (got is None) == (want is None)
    for name in () if want is None else ("offsets", "sizes", "is_key", "pts"):
        column, expected = getattr(got, name), np.asarray(getattr(want, name))
        assert column.dtype == expected.dtype
        np.testing.assert_array_equal(column, expected)


def test_every_row_is_the_same_through_the_reader(root):
    reader = reader_of(root)
    for sample_id, want in enumerate(infos()):
        got = reader.info(sample_id)
        assert (got.key, got.num_frames) == (want.key, want.num_frames)
        assert_same_packets(got.packets, want.packets)


@pytest.mark.parametrize("rows", [range(64), range(60, 70), range(128, 192), range(3, 4)])
def test_some_rows_are_those_rows(sidecar, rows):
    index = ShardIndex.from_parquet(sidecar, url="x", rows=rows)
    every = [info.key for info in infos()]
    assert [index[row].key for row in range(len(index))] == every[rows.start : rows.stop]
    assert index.num_shard_samples == NUM_ROWS


def test_offsets_of_huge_files_survive():
    want = list(infos(8, first_offset=2**40))
    index = ShardIndex.from_parquet(index_to_parquet(want, metadata={}), url="x")
    for row, info in enumerate(want):
        assert_same_packets(index[row].packets, info.packets)


def test_a_column_is_read_alone(sidecar):
    assert read_column(sidecar, "key", url="x") == [info.key for info in infos()]


def test_a_key_is_found_in_any_row_group(root):
    reader = reader_of(root)
    assert reader.find(f"sample-{NUM_ROWS - 1:04d}") == NUM_ROWS - 1
    assert reader.find("nobody") is None


def test_a_reader_goes_to_another_process_with_nothing_open(root):
    (root / "shard.tar").write_bytes(b"content")
    reader = reader_of(root)
    reader.info(3)
    other = pickle.loads(pickle.dumps(reader))
    assert other.info(NUM_ROWS - 1).key == f"sample-{NUM_ROWS - 1:04d}"
    assert other.describe(0) == reader.describe(0)


def test_a_sidecar_with_too_few_rows_is_refused(root):
    with pytest.raises(ManifestError, match="run fmrgb verify"):
        reader_of(root, NUM_ROWS + 64).info(NUM_ROWS + 1)


@pytest.mark.parametrize("damage", ["cut", "footer", "page"])
def test_a_damaged_sidecar_is_a_manifest_error(sidecar, damage):
    content = bytearray(sidecar)
    if damage == "cut":
        content = content[: len(content) // 2]
    elif damage == "footer":
        content[-400:-8] = bytes(392)
    else:
        content[4:3000] = bytes(2996)
    with pytest.raises(ManifestError, match="shard-7"):
        ShardIndex.from_parquet(bytes(content), url="shard-7")


def open_files():
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def test_many_shards_leave_few_files_open(tmp_path):
    for number in range(200):
        (tmp_path / f"{number}").write_bytes(b"0123456789")
    before, store = open_files(), Store(tmp_path)
    for number in range(200):
        assert store.read_range(f"{number}", start=number % 10, length=1) == b"%d" % (number % 10)
    assert open_files() - before <= 64
    del store
    gc.collect()
    assert open_files() <= before


def test_a_file_replaced_while_open_is_still_the_one_that_was_opened(tmp_path):
    path = tmp_path / "shard.tar"
    path.write_bytes(b"old bytes")
    store = Store(tmp_path)
    assert store.read_range("shard.tar", start=0, length=3) == b"old"
    (tmp_path / "new").write_bytes(b"new bytes")
    (tmp_path / "new").replace(path)
    assert store.read_range("shard.tar", start=0, length=9) == b"old bytes"


def test_a_shard_that_is_not_there_says_where(tmp_path):
    with pytest.raises(ShardNotFound, match=r"train/shard-000009\.tar"):
        Store(tmp_path).read_range("train/shard-000009.tar", start=0, length=1)
