"""Items of a split: samples, or every sliding window of every sample. Item -> (sample, window)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


class ItemTable:
    """Numbers the windows of all samples in order. Holds 8 bytes a sample."""

    def __init__(self, windows_by_shard: Sequence[NDArray[np.int64]]) -> None:
        """Take the number of windows of each sample, one array a shard."""
        self.shard_sizes = [int(windows.sum()) for windows in windows_by_shard]
        counts = np.concatenate([np.zeros(1, np.int64), *windows_by_shard])
        self._first_item: NDArray[np.int64] = np.cumsum(counts)

    def locate(self, items: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """(sample ids, window indices), int64 [N] each, of items int64 [N]."""
        samples = np.searchsorted(self._first_item, items, side="right") - 1
        return samples, items - self._first_item[samples]


class SampleTable:
    """The item table when every sample is one item: no memory, no sidecar read."""

    def __init__(self, shard_sizes: Sequence[int]) -> None:
        """Take the number of samples of each shard."""
        self.shard_sizes = list(shard_sizes)

    def locate(self, items: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """(items, zeros): every sample has one window."""
        return items, np.zeros_like(items)
