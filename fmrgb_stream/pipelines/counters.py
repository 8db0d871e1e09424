"""What a pipeline has done so far, and where its time went."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Literal

from fmrgb_stream.storage import NOTHING_READ, ReadCounts

Stage = Literal["read", "decode", "flow", "audio", "idle", "wait"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineCounts:
    """A snapshot. Seconds of a stage are summed over workers; `wait` is the consumer's.

    What workers did besides (planning, answering) is in none of them.
    """

    num_clips: int = 0
    num_batches: int = 0
    """Batches handed out."""
    read_seconds: float = 0.0
    decode_seconds: float = 0.0
    flow_seconds: float = 0.0
    audio_seconds: float = 0.0
    idle_seconds: float = 0.0
    """Workers had nothing to do: the consumer was slower, or paused."""
    wait_seconds: float = 0.0
    """The consumer waited this long for batches."""
    num_batches_ahead: int = 0
    """Batches in the making or ready, when last looked at."""
    num_batches_ready: int = 0
    """Of those, complete ones."""
    num_substitutes: int = 0
    """Clips made of a neighbour in place of a bad sample."""
    num_bad_samples: int = 0
    """Distinct samples in quarantine."""
    num_workers: int = 0
    """Clips made at the same time."""
    num_batches_limit: int = 0
    """Batches in the making at most, by `prefetch_batches` and `prefetch_bytes`."""
    reads: ReadCounts = NOTHING_READ
    """Of this process and its workers."""


class StageClock:
    """Where the time of one clip goes. Belongs to one worker."""

    def __init__(self) -> None:
        """Start at zero."""
        self._seconds: dict[Stage, float] = {}

    @contextmanager
    def timed(self, stage: Stage) -> Generator[None]:
        """Add the time spent inside to a stage, also when it raises."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.add(stage, time.perf_counter() - start)

    def add(self, stage: Stage, seconds: float) -> None:
        """Add time to a stage."""
        self._seconds[stage] = self._seconds.get(stage, 0.0) + seconds

    def take(self) -> dict[Stage, float]:
        """Seconds by stage since the last call."""
        seconds, self._seconds = self._seconds, {}
        return seconds


class Counters:
    """Counts of a run; read from any thread while the consumer's thread adds."""

    def __init__(self, *, num_workers: int = 0, num_batches_limit: int = 0) -> None:
        """Start at zero."""
        # Written in place: a new record a clip would cost the consumer 30 us each.
        self._limits = PipelineCounts(num_workers=num_workers, num_batches_limit=num_batches_limit)
        self._num_clips = self._num_substitutes = self._num_batches = 0
        self._num_ahead = self._num_ready = 0
        self._seconds: dict[Stage, float] = {}
        self._reads = NOTHING_READ
        self._lock = threading.Lock()

    def add_clip(self, seconds: Mapping[Stage, float], *, is_substitute: bool) -> None:
        """Count a clip that was finished."""
        with self._lock:
            self._num_clips += 1
            self._num_substitutes += is_substitute
            for stage, spent in seconds.items():
                self._seconds[stage] = self._seconds.get(stage, 0.0) + spent

    def add_batch(self, *, wait_seconds: float) -> None:
        """Count a batch that was handed out, and how long the consumer waited for it."""
        with self._lock:
            self._num_batches += 1
            self._seconds["wait"] = self._seconds.get("wait", 0.0) + wait_seconds

    def look(self, *, ahead: int, ready: int) -> None:
        """Note how far the pipeline is ahead of its consumer."""
        with self._lock:
            self._num_ahead, self._num_ready = ahead, ready

    def add_reads(self, reads: ReadCounts) -> None:
        """Count what another process has read."""
        with self._lock:
            self._reads += reads

    def snapshot(self, *, num_bad_samples: int, own_reads: ReadCounts) -> PipelineCounts:
        """The counts now; what this process has read is counted where it is read."""
        with self._lock:
            return replace(
                self._limits,
                num_clips=self._num_clips,
                num_batches=self._num_batches,
                num_batches_ahead=self._num_ahead,
                num_batches_ready=self._num_ready,
                num_substitutes=self._num_substitutes,
                num_bad_samples=num_bad_samples,
                reads=self._reads + own_reads,
                **{f"{stage}_seconds": spent for stage, spent in self._seconds.items()},
            )
