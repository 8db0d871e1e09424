"""A pipeline's batches, epoch after epoch, without a pause between them."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence

from fmrgb_stream.errors import LoaderClosed
from fmrgb_stream.pipelines.base import ClipPipeline
from fmrgb_stream.sample import ClipBatch, ClipTask
from fmrgb_stream.shards import RankTasks


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
        self._next_epoch: int | None = None
        """What `_running` comes to next, when it stands between two epochs."""

    def batches(self, *, epoch: int, position: int) -> Generator[ClipBatch]:
        """The batches of an epoch from a position on; close an iterator before taking another."""
        if self._running is None or position or self._next_epoch != epoch:
            self.end()
            self._running = self._pipeline.batches(self._endless(epoch, position))
        self._next_epoch = None
        try:
            for _ in range(self._tasks.steps_from(position)):
                batch = next(self._running, None)
                if batch is None:
                    # close() has ended it.
                    raise LoaderClosed("the loader is closed; build a new one")
                yield batch
            self._next_epoch = epoch + 1
        finally:
            if self._next_epoch is None or not self._pipeline.works_ahead:
                self.end()

    def end(self) -> None:
        """Drop what is in the making."""
        running, self._running, self._next_epoch = self._running, None, None
        if running is not None:
            running.close()

    def _endless(self, epoch: int, position: int) -> Iterator[Sequence[ClipTask]]:
        yield from self._tasks.batches(epoch=epoch, position=position)
        while self._pipeline.works_ahead:
            epoch += 1
            yield from self._tasks.batches(epoch=epoch, position=0)
