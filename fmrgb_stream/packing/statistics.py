"""A packed train split -> mean and standard deviation of every plane, as the loader makes them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch

from fmrgb_stream.channels import FULL_SCALE
from fmrgb_stream.config import ClipConfig
from fmrgb_stream.distributed import WorldInfo
from fmrgb_stream.loader import build_loader
from fmrgb_stream.shards.manifest import ChannelStats

STAGE: Final = "measure"
PLANES: Final = ("red", "green", "blue", "gray", "flow", "mel")
_BATCH_SIZE: Final = 8


@dataclass(slots=True)
class PlaneSums:
    """Exact running sums of one plane's 0..255 values."""

    count: int = 0
    total: int = 0
    total_of_squares: int = 0

    def add(self, values: torch.Tensor) -> None:
        """Count uint8 values of any shape."""
        wide = values.to(dtype=torch.int64)
        self.count += wide.numel()
        self.total += int(wide.sum())
        self.total_of_squares += int((wide * wide).sum())

    def stats(self) -> ChannelStats:
        """Mean and population standard deviation, in 0..1."""
        mean = self.total / self.count
        # Whole numbers up to the last step, so that nothing cancels.
        variance = (self.count * self.total_of_squares - self.total**2) / self.count**2
        return ChannelStats(mean=mean / FULL_SCALE, std=variance**0.5 / FULL_SCALE)


def measure_channels(
    root: Path, *, max_clips: int, num_threads: int | None
) -> tuple[dict[str, ChannelStats], int]:
    """(statistics by plane, clips measured) over the first clips of the train split.

    A split's samples stand in hashed order, so its first clips are a fair draw. Planes that never
    vary (the mel of a dataset without sound) are left out.
    """
    sums = {plane: PlaneSums() for plane in PLANES}
    num_clips = 0
    with build_loader(
        root,
        split="train",
        batch_size=_BATCH_SIZE,
        clip=ClipConfig(channels=PLANES, window="centre"),
        shuffle=False,
        tail="pad",
        num_threads=num_threads,
        on_bad_sample="raise",
        world=WorldInfo(),
    ) as loader:
        for batch in loader:
            real = batch.clip[~batch.is_padding][: max_clips - num_clips]
            num_clips += len(real)
            for place, plane in enumerate(batch.channels):
                sums[plane].add(real[:, place])
            if num_clips >= max_clips:
                break
    stats = {plane: found.stats() for plane, found in sums.items()}
    return {plane: found for plane, found in stats.items() if found.std > 0}, num_clips
