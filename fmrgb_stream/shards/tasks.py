"""A place in an epoch -> this rank's tasks, one list a batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from fmrgb_stream.config import LoaderConfig
from fmrgb_stream.distributed import WorldInfo
from fmrgb_stream.errors import ConfigError
from fmrgb_stream.sample import ClipTask
from fmrgb_stream.shards.order import DatasetOrder, MixtureOrder
from fmrgb_stream.shards.plan import steps_left
from fmrgb_stream.shards.position import EpochPlace


@dataclass(frozen=True, slots=True, kw_only=True)
class RankTasks:
    """How one rank of a world walks through an order."""

    order: DatasetOrder | MixtureOrder
    config: LoaderConfig
    world: WorldInfo

    @property
    def num_clips(self) -> int:
        """Clips an epoch, over all ranks."""
        return self.order.num_clips

    @property
    def global_batch_size(self) -> int:
        """Clips a step, over all ranks."""
        return self.config.batch_size * self.world.world_size

    def check_not_empty(self, split: str) -> None:
        """Refuse an epoch without batches.

        Raises:
            ConfigError: the split has fewer clips than a global batch, and the tail is dropped.
        """
        if self.steps_from(0) == 0:
            raise ConfigError(
                f"split {split!r} has {self.num_clips} clips, fewer than one global batch of "
                f"{self.global_batch_size}; lower batch_size or use tail='pad'"
            )

    def steps_from(self, position: int) -> int:
        """Batches of each rank from a position to the end of the epoch."""
        return steps_left(self.num_clips, position, self.global_batch_size, self.config.tail)

    def after(self, place: EpochPlace) -> EpochPlace:
        """Where the epoch that follows begins."""
        steps = self.steps_from(place.position)
        num_played = place.position + steps * self.global_batch_size
        start = self.order.next_start(place.start, num_played)
        return EpochPlace(epoch=place.epoch + 1, start=start)

    def batches(self, place: EpochPlace) -> Iterator[Sequence[ClipTask]]:
        """The tasks of each of this rank's batches, from a place to the end of its epoch."""
        size = self.config.batch_size
        for step in range(self.steps_from(place.position)):
            first = place.position + step * self.global_batch_size + self.world.rank * size
            positions = np.arange(first, first + size, dtype=np.int64)
            clips = self.order.clips(positions, epoch=place.epoch, start=place.start)
            is_padding = positions >= self.num_clips if self.config.tail == "pad" else positions < 0
            columns = (clips.sources, clips.passes, clips.samples, clips.windows, is_padding)
            yield [
                ClipTask(
                    source=source,
                    epoch=epoch,
                    sample_id=sample,
                    window_index=window,
                    is_padding=padding,
                )
                for source, epoch, sample, window, padding in zip(
                    *(column.tolist() for column in columns), strict=True
                )
            ]
