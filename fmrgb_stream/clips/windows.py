"""How many clips each sample gives, and so the items of a split."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fmrgb_stream.clips.timeline import TIME_SLACK_SECONDS
from fmrgb_stream.config import ClipConfig
from fmrgb_stream.shards import ItemTable, SampleTable, ShardReader, SplitEntry

if TYPE_CHECKING:
    from numpy.typing import NDArray


def count_windows(durations_seconds: NDArray[np.float64], clip: ClipConfig) -> NDArray[np.int64]:
    """int64 [N]: clips that each sample gives; 1 unless the window slides.

    Windows start every `hop_seconds` as long as they end within the sample; a sample shorter than
    one window gives one.
    """
    if clip.window_seconds is None or clip.hop_seconds is None:
        return np.ones(len(durations_seconds), dtype=np.int64)
    spare_seconds = durations_seconds * clip.fraction - clip.window_seconds + TIME_SLACK_SECONDS
    return np.maximum(np.floor(spare_seconds / clip.hop_seconds).astype(np.int64), 0) + 1


def split_items(
    reader: ShardReader, split: SplitEntry, clip: ClipConfig
) -> ItemTable | SampleTable:
    """The items of a split. Sliding windows read every sidecar once, other rules none."""
    if clip.window != "sliding":
        return SampleTable([shard.num_samples for shard in split.shards])
    return ItemTable([count_windows(seconds, clip) for seconds in reader.durations_by_shard()])
