"""A pipeline's batches, epoch after epoch, without a pause between them."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence

from fmrgb_stream.errors import LoaderClosed
from fmrgb_stream.pipelines.base import ClipPipeline
from fmrgb_stream.sample import ClipBatch, ClipTask
from fmrgb_stream.shards import RankTasks
from fmrgb_stream.shards.position import EpochPlace


class EpochStream:
    """Hands out one epoch at a time; its workers go on with the next one meanwhile.

    When an epoch was taken to its end, the first batches of the following one are in the making,
    and are what the next call continues with if it asks for them. Otherwise they are dropped.
    """

    def __init__(self, pipeline: ClipPipeline, tasks: RankTasks) -> None:
        """Nothing runs yet."""
        self._pipeline = pipeline
        self._tasks = tasks
        self._running: Generator[ClipBatch] | None = None
        self._next: EpochPlace | None = None
        """What `_running` comes to next, when it stands between two epochs."""

    def batches(self, place: EpochPlace) -> Generator[ClipBatch]:
        """The batches of an epoch from a place on; close an iterator before taking another."""
        if self._running is None or self._next != place:
            self.end()
            self._running = self._pipeline.batches(self._endless(place))
        self._next = None
        try:
            for _ in range(self._tasks.steps_from(place.position)):
                batch = next(self._running, None)
                if batch is None:
                    # close() has ended it.
                    raise LoaderClosed("the loader is closed; build a new one")
                yield batch
            self._next = self._tasks.after(place)
        finally:
            if self._next is None or not self._pipeline.works_ahead:
                self.end()

    def end(self) -> None:
        """Drop what is in the making."""
        running, self._running, self._next = self._running, None, None
        if running is not None:
            running.close()

    def _endless(self, place: EpochPlace) -> Iterator[Sequence[ClipTask]]:
        yield from self._tasks.batches(place)
        while self._pipeline.works_ahead:
            place = self._tasks.after(place)
            yield from self._tasks.batches(place)
