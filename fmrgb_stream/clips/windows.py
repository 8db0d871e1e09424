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

    `sliding` windows start every `hop_seconds` as long as they end within the sample; a sample
    shorter than one window gives one. `around` has one every `hop_seconds` from the start on.
    """
    if clip.hop_seconds is None:
        return np.ones(len(durations_seconds), dtype=np.int64)
    if clip.window_seconds is None:
        hops = (durations_seconds - TIME_SLACK_SECONDS) / clip.hop_seconds
        return np.maximum(np.ceil(hops).astype(np.int64), 1)
    spare_seconds = durations_seconds * clip.fraction - clip.window_seconds + TIME_SLACK_SECONDS
    return np.maximum(np.floor(spare_seconds / clip.hop_seconds).astype(np.int64), 0) + 1


def windows_by_shard(reader: ShardReader, clip: ClipConfig) -> list[NDArray[np.int64]]:
    """Clips that each sample gives, int64 [samples] a shard. Reads every sidecar once."""
    if clip.window == "around" and clip.hop_seconds is None:
        return reader.num_frames_by_shard()
    return [count_windows(seconds, clip) for seconds in reader.durations_by_shard()]


def split_items(
    reader: ShardReader, split: SplitEntry, clip: ClipConfig
) -> ItemTable | SampleTable:
    """The items of a split. Several windows a sample: every sidecar is read once, else none."""
    if not clip.has_many_windows:
        return SampleTable([shard.num_samples for shard in split.shards])
    return ItemTable(windows_by_shard(reader, clip))
