"""The seam between what a clip means and how it is made: tasks -> ClipBatch."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from typing import Protocol

from fmrgb_stream.sample import ClipBatch, ClipTask, PlannedClip


class ClipSource(Protocol):
    """Where a pipeline gets its planned clips. Called from many threads at once."""

    def fetch(self, task: ClipTask) -> PlannedClip:
        """Read the task's sample and plan its clip.

        Raises:
            FmrgbError: the bytes cannot be had, are corrupt, or cannot be planned.
        """
        ...

    def neighbour(self, task: ClipTask, attempt: int) -> ClipTask:
        """The task that stands in for a bad one: a pure function, another one for each attempt."""
        ...

    def describe(self, task: ClipTask) -> tuple[str, str]:
        """(shard URL, key) of the task's sample, for messages."""
        ...


class ClipPipeline(Protocol):
    """Turns planned tasks into batches, in order, ahead of the consumer."""

    @property
    def works_ahead(self) -> bool:
        """Whether workers go on when an epoch was taken to its end."""
        ...

    def batches(self, tasks: Iterator[Sequence[ClipTask]]) -> Generator[ClipBatch]:
        """One batch for each list of tasks, in the order given."""
        ...

    def close(self) -> None:
        """Stop every thread and drop what is in the making. Safe to call twice."""
        ...
