"""Where a graph takes its batches from: one that can tell whether the next one is there already."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from fmrgb_stream.pipelines.dali.prepare import ReadyClip


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadyBatch:
    """The clips of one batch, all of them there."""

    clips: tuple[ReadyClip, ...]


class BatchQueue(Protocol):
    """Batches in order. Used by one thread."""

    def is_ready(self) -> bool:
        """Whether `take` would not have to wait."""
        ...

    def take(self) -> ReadyBatch | None:
        """The next batch; None at the end."""
        ...


class ListedBatches:
    """Batches that are all there, and then those of another queue."""

    def __init__(self, batches: Iterable[ReadyBatch], then: BatchQueue | None = None) -> None:
        """Take none yet."""
        self.left = deque(batches)
        """Those that were not taken."""
        self._then = then

    def is_ready(self) -> bool:
        """Whether `take` would not have to wait."""
        return bool(self.left) or self._then is None or self._then.is_ready()

    def take(self) -> ReadyBatch | None:
        """The next batch; None at the end."""
        if self.left:
            return self.left.popleft()
        return None if self._then is None else self._then.take()
