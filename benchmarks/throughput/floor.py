"""The floor: finished batches, copied. What handing over memory alone costs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from benchmarks.throughput.contract import BenchBatch, BenchClip, BenchData

NUM_FINISHED: Final = 16
"""Far more than a processor's cache holds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MemcpyFloor:
    """The contestant."""

    name: str = "floor: memcpy"
    reads: Literal["packed", "derived", "sources"] = "packed"

    def prepare(self, data: BenchData) -> None:
        """Nothing: it reads no data."""

    def batches(
        self, data: BenchData, clip: BenchClip, *, num_workers: int
    ) -> Iterator[BenchBatch]:
        """Copies of the same few batches of noise, one after the other."""
        del data, num_workers  # one process copies; it needs neither
        shape = (NUM_FINISHED, clip.batch_size, clip.num_planes, clip.num_frames, *clip.size)
        finished = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
        keys = tuple(f"noise-{place}" for place in range(clip.batch_size))
        while True:
            for batch_BCTHW in finished:
                yield BenchBatch(keys=keys, clip_BCTHW=batch_BCTHW.copy())


CONTESTANT = MemcpyFloor()
