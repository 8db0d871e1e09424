"""Who gets what when: position in an epoch -> item. A pure function, so resuming costs nothing.

Items are numbered over a split's shards in manifest order (an item is a sample, or one sliding
window of a sample). Consecutive items of one shard form blocks, the unit of reading. An epoch
orders the blocks by a hash of (seed, epoch, block), then orders the items of every
`window_blocks` neighbouring blocks by a hash of (seed, epoch, window, place). Global batch t takes
positions [t G, (t+1) G); rank r of W takes the r-th of its W equal slices. Nothing depends on W.

The hash is splitmix64, written out here so that no library update can change an epoch's order.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Final

import numpy as np

from fmrgb_stream.config import TailRule

if TYPE_CHECKING:
    from numpy.typing import NDArray

_GOLDEN_GAMMA: Final = 0x9E3779B97F4A7C15
_MIX_1: Final = 0xBF58476D1CE4E5B9
_MIX_2: Final = 0x94D049BB133111EB
_BITS_64: Final = (1 << 64) - 1
_WINDOWS_KEPT: Final = 4


def splitmix64(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Mix 64-bit integers, uint64 of any shape -> the same shape.

    Source: Steele, Lea, Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014.
    """
    with np.errstate(over="ignore"):
        mixed = values + np.uint64(_GOLDEN_GAMMA)
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(_MIX_1)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(_MIX_2)
    return mixed ^ (mixed >> np.uint64(31))


def hash_counter(*key: int, count: int) -> NDArray[np.uint64]:
    """uint64 [count]: one well mixed number for each counter value under an integer key."""
    state = np.uint64(_hash_of(*key))
    return splitmix64(splitmix64(np.arange(count, dtype=np.uint64)) ^ state)


def uniform_at(seed: int, epoch: int, item: int) -> float:
    """One number in [0, 1) that belongs to an item of an epoch, whoever asks and when."""
    return (_hash_of(seed, epoch, item) >> 11) / (1 << 53)


def source_seed(seed: int, source: int) -> int:
    """The seed of one source of a mixture: datasets of one shape are not shuffled alike.

    The first one keeps the seed, so that a mixture of one dataset is that dataset.
    """
    return _hash_of(seed, source) if source else seed


def _hash_of(*key: int) -> int:
    """64 bits of an integer key. Plain integers: every clip asks, and numpy's cost 20 times that."""
    state = 0
    for part in key:
        mixed = ((state ^ (part & _BITS_64)) + _GOLDEN_GAMMA) & _BITS_64
        mixed = ((mixed ^ (mixed >> 30)) * _MIX_1) & _BITS_64
        mixed = ((mixed ^ (mixed >> 27)) * _MIX_2) & _BITS_64
        state = mixed ^ (mixed >> 31)
    return state


def steps_left(num_items: int, position: int, global_batch_size: int, tail: TailRule) -> int:
    """Global batches from `position` to the end of an epoch of `num_items`."""
    left = max(num_items - position, 0)
    whole, rest = divmod(left, global_batch_size)
    return whole if tail == "drop" else whole + (rest > 0)


class EpochPlan:
    """The order of one epoch. Memory is a few bytes a block, whatever the position."""

    def __init__(
        self,
        shard_sizes: Sequence[int],
        *,
        seed: int,
        epoch: int,
        shuffle: bool,
        block_items: int,
        window_blocks: int,
    ) -> None:
        """Lay out the blocks of shards with these item counts."""
        sizes = np.asarray(shard_sizes, dtype=np.int64)
        starts, lengths = _blocks(sizes, block_items)
        self.num_items = int(sizes.sum())
        self._seed, self._epoch, self._shuffle = seed, epoch, shuffle
        self._window_blocks = window_blocks
        if shuffle:
            order = np.argsort(hash_counter(seed, epoch, count=len(starts)), kind="stable")
            starts, lengths = starts[order], lengths[order]
        self._starts, self._lengths = starts, lengths
        ends = np.cumsum(lengths)
        last_blocks = np.arange(window_blocks, len(ends) + window_blocks, window_blocks)
        self._window_ends: NDArray[np.int64] = (
            ends[np.minimum(last_blocks, len(ends)) - 1] if len(ends) else np.zeros(0, np.int64)
        )
        self._window = lru_cache(maxsize=_WINDOWS_KEPT)(self._window_items)

    def items(self, start: int, stop: int) -> NDArray[np.int64]:
        """int64 [stop - start]: the items at these positions; past the end it begins again."""
        return self.items_at(np.arange(start, stop, dtype=np.int64))

    def items_at(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        """int64 [N]: the items at these positions, int64 [N]; past the end it begins again."""
        positions = positions % self.num_items
        windows = np.searchsorted(self._window_ends, positions, side="right")
        items = np.empty_like(positions)
        for window in np.unique(windows):
            chosen = windows == window
            first = self._window_ends[window - 1] if window else 0
            items[chosen] = self._window(int(window))[positions[chosen] - first]
        return items

    def _window_items(self, window: int) -> NDArray[np.int64]:
        blocks = slice(window * self._window_blocks, (window + 1) * self._window_blocks)
        runs = zip(self._starts[blocks], self._lengths[blocks], strict=True)
        items = np.concatenate([np.arange(start, start + length) for start, length in runs])
        if self._shuffle:
            key = hash_counter(self._seed, self._epoch, window, 1, count=len(items))
            items = items[np.argsort(key, kind="stable")]
        return items


def _blocks(
    sizes: NDArray[np.int64], block_items: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(first item, number of items) of every block; no block spans two shards."""
    blocks_in_shard = -(-sizes // block_items)
    shard = np.repeat(np.arange(len(sizes)), blocks_in_shard)
    first_block = np.cumsum(blocks_in_shard) - blocks_in_shard
    within = (np.arange(len(shard)) - first_block[shard]) * block_items
    first_item = np.cumsum(sizes) - sizes
    return first_item[shard] + within, np.minimum(block_items, sizes[shard] - within)
