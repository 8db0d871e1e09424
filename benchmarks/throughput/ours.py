"""fmrgb_stream itself, through its public API with its own defaults."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import fmrgb_stream as fs
from benchmarks.throughput.contract import BenchBatch, BenchClip, BenchData


@dataclass(frozen=True, slots=True, kw_only=True)
class Ours:
    """The contestant."""

    name: str = "fmrgb_stream"
    reads: Literal["packed", "derived", "sources"] = "packed"

    def prepare(self, data: BenchData) -> None:
        """Nothing: it reads what was packed."""

    def batches(
        self, data: BenchData, clip: BenchClip, *, num_workers: int
    ) -> Iterator[BenchBatch]:
        """The loader's batches."""
        del num_workers  # it takes as many threads as it does for any user
        channels = {"fmrgb": "fmrgb", "rgb+mel": ("red", "green", "blue", "mel"), "rgb": "rgb"}
        config = fs.ClipConfig(
            num_frames=clip.num_frames,
            frame_stride=clip.frame_stride,
            size=clip.size,
            channels=channels[clip.planes],
            window="centre",
        )
        with fs.build_loader(
            data.packed,
            split="train",
            batch_size=clip.batch_size,
            clip=config,
            on_bad_sample="raise",
        ) as loader:
            while True:
                for batch in loader:
                    yield BenchBatch(keys=batch.keys, clip_BCTHW=batch.clip.numpy())


CONTESTANT = Ours()
