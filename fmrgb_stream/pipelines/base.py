"""The seam between what a clip means and how it is made: tasks -> ClipBatch."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from typing import TYPE_CHECKING, Protocol

from fmrgb_stream.sample import ClipBatch, ClipTask, EncodedSample, PlannedClip

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from fmrgb_stream.pipelines.counters import PipelineCounts


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


class FrameDecoder(Protocol):
    """Decodes frames on the host. Belongs to one thread."""

    def pictures(self, sample: EncodedSample, frame_indices: Sequence[int]) -> NDArray[np.uint8]:
        """uint8 [3, N, H, W] RGB at clip size, upright, in the order of `frame_indices`.

        Raises:
            DecodeError: the sample is not what the index says.
        """
        ...


class SoundDecoder(Protocol):
    """Decodes sound on the host. Belongs to one thread."""

    def stretches(
        self, sample: EncodedSample, spans: Sequence[tuple[int, int]]
    ) -> list[NDArray[np.float32]]:
        """For each (first audio sample, number of them) float32 [S] in -1..1; silence outside.

        Raises:
            DecodeError: the member is not what the index says, or broken inside a span.
        """
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

    def counts(self) -> PipelineCounts:
        """What was done so far, and where the time went."""
        ...

    def close(self) -> None:
        """Stop every thread and drop what is in the making. Safe to call twice."""
        ...
