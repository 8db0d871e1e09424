"""What a pipeline has done so far, and where its time went."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Literal

Stage = Literal["read", "decode", "flow", "audio", "wait"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineCounts:
    """A snapshot. Seconds of a stage are summed over threads; `wait` is the consumer's."""

    num_clips: int = 0
    num_batches: int = 0
    """Batches handed out."""
    read_seconds: float = 0.0
    decode_seconds: float = 0.0
    flow_seconds: float = 0.0
    audio_seconds: float = 0.0
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


class Counters:
    """Counts that many threads add to."""

    def __init__(self) -> None:
        """Start at zero."""
        self._counts = PipelineCounts()
        self._lock = threading.Lock()

    def add(self, *, clips: int = 0, batches: int = 0, substitutes: int = 0) -> None:
        """Count what was finished."""
        with self._lock:
            self._counts = replace(
                self._counts,
                num_clips=self._counts.num_clips + clips,
                num_batches=self._counts.num_batches + batches,
                num_substitutes=self._counts.num_substitutes + substitutes,
            )

    def look(self, *, ahead: int, ready: int) -> None:
        """Note how far the pipeline is ahead of its consumer."""
        with self._lock:
            self._counts = replace(self._counts, num_batches_ahead=ahead, num_batches_ready=ready)

    @contextmanager
    def timed(self, stage: Stage) -> Generator[None]:
        """Add the time spent inside to a stage, also when it raises."""
        start = time.perf_counter()
        try:
            yield
        finally:
            spent, name = time.perf_counter() - start, f"{stage}_seconds"
            with self._lock:
                before: float = getattr(self._counts, name)
                self._counts = replace(self._counts, **{name: before + spent})

    def snapshot(self, *, num_bad_samples: int) -> PipelineCounts:
        """The counts now."""
        with self._lock:
            return replace(self._counts, num_bad_samples=num_bad_samples)
