"""Who makes the clips: the seam between the pipeline and its threads or processes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, Self

from fmrgb_stream.pipelines.cpu.buffers import Block
from fmrgb_stream.pipelines.cpu.results import FailedClip, MadeClip
from fmrgb_stream.sample import ClipTask


class PendingClips(Protocol):
    """The clips of one batch in the making."""

    def is_ready(self) -> bool:
        """Whether all are made."""
        ...

    def results(self) -> Sequence[MadeClip | FailedClip]:
        """Wait for them, in the order of the tasks.

        Raises:
            LoaderClosed: the crew was stopped meanwhile.
            WorkerDied: a process of the crew has ended.
        """
        ...


class Crew(Protocol):
    """A number of workers. What is submitted inside `with` is done or dropped when it is left."""

    def submit(self, tasks: Sequence[ClipTask], block: Block) -> PendingClips:
        """Have the clips of one batch made into the block."""
        ...

    def collect(self) -> None:
        """Take in what is made, without waiting."""
        ...

    def stop(self) -> None:
        """End the workers; from any thread, at any time, also twice."""
        ...

    def __enter__(self) -> Self:
        """Start the workers that are not there yet."""
        ...

    def __exit__(self, *reason: object) -> None:
        """Drop what is queued and wait for what is being written."""
        ...
