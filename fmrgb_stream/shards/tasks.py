"""Epoch and position -> this rank's tasks, one list a batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from fmrgb_stream.config import LoaderConfig
from fmrgb_stream.distributed import WorldInfo
from fmrgb_stream.errors import ConfigError
from fmrgb_stream.sample import ClipTask
from fmrgb_stream.shards.items import ItemTable, SampleTable
from fmrgb_stream.shards.plan import EpochPlan, steps_left


@dataclass(frozen=True, slots=True, kw_only=True)
class RankTasks:
    """How one rank of a world walks through a split."""

    items: ItemTable | SampleTable
    config: LoaderConfig
    world: WorldInfo

    @property
    def num_items(self) -> int:
        """Clips an epoch, over all ranks."""
        return sum(self.items.shard_sizes)

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
                f"split {split!r} has {self.num_items} clips, fewer than one global batch of "
                f"{self.global_batch_size}; lower batch_size or use tail='pad'"
            )

    def steps_from(self, position: int) -> int:
        """Batches of each rank from a position to the end of the epoch."""
        return steps_left(self.num_items, position, self.global_batch_size, self.config.tail)

    def batches(self, *, epoch: int, position: int) -> Iterator[Sequence[ClipTask]]:
        """The tasks of each of this rank's batches, from a position to the end of the epoch."""
        config, size = self.config, self.config.batch_size
        plan = EpochPlan(
            self.items.shard_sizes,
            seed=config.seed,
            epoch=epoch,
            shuffle=config.shuffle,
            block_items=config.block_samples,
            window_blocks=config.shuffle_window_blocks,
        )
        first = position + self.world.rank * size
        for step in range(self.steps_from(position)):
            start = first + step * self.global_batch_size
            samples, windows = self.items.locate(plan.items(start, start + size))
            yield [
                ClipTask(
                    sample_id=int(sample),
                    window_index=int(window),
                    epoch=epoch,
                    is_padding=config.tail == "pad" and place >= plan.num_items,
                )
                for place, sample, window in zip(
                    range(start, start + size), samples, windows, strict=True
                )
            ]
