"""Epoch and position -> which clip stands there: of one dataset, or of a mixture of several."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final

import numpy as np

from fmrgb_stream.config import LoaderConfig
from fmrgb_stream.shards.items import ItemTable, SampleTable
from fmrgb_stream.shards.mixture import MixturePlan
from fmrgb_stream.shards.plan import EpochPlan, source_seed

if TYPE_CHECKING:
    from numpy.typing import NDArray

_PLANS_KEPT: Final = 2
"""Workers are in the next epoch already while the last batches of one are handed out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderedClips:
    """Some places of an order; four columns int64 [N]."""

    sources: NDArray[np.int64]
    passes: NDArray[np.int64]
    """How often the source was gone through before; the epoch, where there is only one source."""
    samples: NDArray[np.int64]
    windows: NDArray[np.int64]


class DatasetOrder:
    """Every clip of one dataset once an epoch."""

    def __init__(self, items: ItemTable | SampleTable, *, config: LoaderConfig, seed: int) -> None:
        """Nothing is laid out yet."""
        self.num_clips = sum(items.shard_sizes)
        """Of an epoch."""
        self._items = items
        self._config = config
        self._seed = seed
        self._plan = lru_cache(maxsize=_PLANS_KEPT)(self._plan_of)

    def clips(
        self,
        positions: NDArray[np.int64],
        *,
        epoch: int,
        start: int,  # noqa: ARG002 - an epoch of one dataset begins anew
    ) -> OrderedClips:
        """What stands at these positions of an epoch; past the end it begins again."""
        items = self._plan(epoch).items_at(positions)
        samples, windows = self._items.locate(items)
        same = np.zeros_like(samples)
        return OrderedClips(sources=same, passes=same + epoch, samples=samples, windows=windows)

    def next_start(self, start: int, num_played: int) -> int:  # noqa: ARG002 - see `clips`
        """Where the next epoch starts; an epoch of one dataset begins anew."""
        return 0

    def _plan_of(self, epoch: int) -> EpochPlan:
        config = self._config
        return EpochPlan(
            self._items.shard_sizes,
            seed=self._seed,
            epoch=epoch,
            shuffle=config.shuffle,
            block_items=config.block_samples,
            window_blocks=config.shuffle_window_blocks,
        )


class MixtureOrder:
    """Clips of several datasets by weight (see `mixture.py`); epochs follow on from each other."""

    def __init__(
        self,
        tables: Sequence[ItemTable | SampleTable],
        clips_by_source: Sequence[int],
        *,
        config: LoaderConfig,
    ) -> None:
        """Nothing is laid out yet."""
        self._orders = [
            DatasetOrder(items, config=config, seed=source_seed(config.seed, number))
            for number, items in enumerate(tables)
        ]
        self._plan = MixturePlan(clips_by_source, seed=config.seed, shuffle=config.shuffle)
        self._tail = config.tail
        self.num_clips = self._plan.num_clips
        """Of an epoch, but for the tail."""

    def clips(
        self,
        positions: NDArray[np.int64],
        *,
        epoch: int,  # noqa: ARG002 - the stream's own number says it all
        start: int,
    ) -> OrderedClips:
        """What stands at these positions of the epoch that starts at clip `start` of the stream."""
        if self._tail == "pad":
            positions = positions % self.num_clips
        sources, numbers = self._plan.locate(start + positions)
        columns = {name: np.zeros_like(sources) for name in ("passes", "samples", "windows")}
        for source in np.unique(sources).tolist():
            order, chosen = self._orders[source], sources == source
            passes, places = np.divmod(numbers[chosen], order.num_clips)
            for number in np.unique(passes).tolist():
                here = np.flatnonzero(chosen)[passes == number]
                found = order.clips(places[passes == number], epoch=number, start=0)
                columns["passes"][here] = number
                columns["samples"][here] = found.samples
                columns["windows"][here] = found.windows
        return OrderedClips(sources=sources, **columns)

    def next_start(self, start: int, num_played: int) -> int:
        """Where the next epoch starts: nothing is left out, and nothing given twice.

        Args:
            start: of this epoch, in clips of the stream.
            num_played: clips of this epoch over all ranks, the last global batch included.
        """
        return start + (self.num_clips if self._tail == "pad" else num_played)
