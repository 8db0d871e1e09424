"""Tasks -> ready batches, prepared by threads some batches ahead, in order."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from dataclasses import replace
from typing import Final, Self

from fmrgb_stream.errors import LoaderClosed
from fmrgb_stream.pipelines.dali.prepare import ClipPreparer, FailedClip, PrepareOrder, ReadyClip
from fmrgb_stream.pipelines.dali.queues import ReadyBatch
from fmrgb_stream.pipelines.quarantine import BadSample
from fmrgb_stream.pipelines.read_ahead import ReadAhead
from fmrgb_stream.sample import ClipTask
from fmrgb_stream.storage.stopping import obey

THREAD_NAME: Final = "fmrgb-feed"
_Clips = list[Future[ReadyClip | FailedClip]]


class PrepareCrew:
    """Threads that prepare clips; they end when the `with` block is left."""

    def __init__(
        self, order: PrepareOrder, *, num_workers: int, num_ahead: int, host_share: float
    ) -> None:
        """Threads start with the first work.

        Args:
            order: what to prepare and how.
            num_workers: threads.
            num_ahead: batches in preparation while the graph has enough.
            host_share: 0..1, which part of each batch is decoded by these threads.
        """
        self._ahead: ReadAhead | None = None
        if order.reads_ahead:
            self._ahead = ReadAhead(
                order.source,
                num_ahead=order.reads_ahead * num_workers,
                max_bytes=order.read_ahead_bytes * num_workers,
            )
            order = replace(order, source=self._ahead)
        self._order = order
        self._num_ahead = num_ahead
        self.host_share = host_share
        """May be changed while it runs, for the batches that follow."""
        self._of_thread = threading.local()
        self._threads: set[threading.Thread] = set()
        self._stop = threading.Event()
        self._executor = ThreadPoolExecutor(
            num_workers, thread_name_prefix=THREAD_NAME, initializer=obey, initargs=(self._stop,)
        )

    def __enter__(self) -> Self:
        """The crew."""
        return self

    def __exit__(self, *reason: object) -> None:
        """Stop."""
        self.stop()

    def stop(self) -> None:
        """Drop what is queued, wait for what is being prepared. From any thread, also twice."""
        # The garbage collector may end a forgotten run inside one of these threads, which
        # cannot wait for itself.
        is_outside = threading.current_thread() not in self._threads
        self._stop.set()  # who waits for a server that fails, waits no longer
        if self._ahead is not None:
            # First, so that threads which wait for bytes that nobody wants any more go on.
            self._ahead.close(wait=False)
        self._executor.shutdown(wait=is_outside, cancel_futures=True)
        if self._ahead is not None:
            self._ahead.close(wait=is_outside)

    def batches(self, tasks: Iterator[Sequence[ClipTask]]) -> PreparedBatches:
        """The batches of these tasks; nothing is taken of them yet."""
        return PreparedBatches(tasks, submit=self._submit, num_ahead=self._num_ahead)

    def _submit(self, tasks: Sequence[ClipTask]) -> _Clips:
        share = self.host_share
        if self._ahead is not None:
            self._ahead.expect(tasks)
        try:
            return [
                self._executor.submit(
                    self._prepare,
                    task,
                    # Spread evenly over the batch: place k when k * share passes a whole number.
                    int((place + 1) * share) > int(place * share),
                )
                for place, task in enumerate(tasks)
            ]
        except RuntimeError as error:
            raise LoaderClosed("the pipeline is closed; build a new one") from error

    def _prepare(self, task: ClipTask, on_host: bool) -> ReadyClip | FailedClip:
        preparer: ClipPreparer | None = getattr(self._of_thread, "preparer", None)
        if preparer is None:
            self._threads.add(threading.current_thread())
            preparer = self._of_thread.preparer = ClipPreparer(self._order)
        return preparer.prepare(task, on_host=on_host)


class PreparedBatches:
    """The `BatchQueue` of a crew, up to the first batch that cannot be made: see `failure`.

    Raises:
        LoaderClosed: the crew was stopped meanwhile.
    """

    def __init__(
        self,
        tasks: Iterator[Sequence[ClipTask]],
        *,
        submit: Callable[[Sequence[ClipTask]], _Clips],
        num_ahead: int,
    ) -> None:
        """Tasks are taken in the thread that asks for batches."""
        self._tasks = tasks
        self._submit = submit
        self._num_ahead = num_ahead
        self._waiting: deque[_Clips] = deque()
        self._is_over = False
        self.failure: tuple[BaseException, Sequence[BadSample]] | None = None
        """Why the batches ended early, and the bad samples that led to it."""

    def is_ready(self) -> bool:
        """Whether `take` would not have to wait."""
        self._refill()
        return not self._waiting or all(clip.done() for clip in self._waiting[0])

    def take(self) -> ReadyBatch | None:
        """The next batch; None at the end."""
        self._refill()
        if not self._waiting:
            return None
        clips = _results(self._waiting.popleft())
        good = [clip for clip in clips if isinstance(clip, ReadyClip)]
        if len(good) < len(clips):
            self.failure = _failure(clips)
            self._is_over = True
            self._waiting.clear()
            return None
        self._refill()
        return ReadyBatch(clips=tuple(good))

    def _refill(self) -> None:
        while not self._is_over and len(self._waiting) < self._num_ahead:
            listed = next(self._tasks, None)
            if listed is None:
                self._is_over = True
            else:
                self._waiting.append(self._submit(listed))


def _results(clips: _Clips) -> list[ReadyClip | FailedClip]:
    try:
        return [clip.result() for clip in clips]
    except CancelledError:
        raise LoaderClosed("the pipeline is closed; build a new one") from None


def _failure(
    clips: Sequence[ReadyClip | FailedClip],
) -> tuple[BaseException, Sequence[BadSample]]:
    """The first error of a batch, and all bad samples met up to it."""
    bad: list[BadSample] = []
    for clip in clips:
        bad += clip.bad_samples
        if isinstance(clip, FailedClip):
            return clip.error, bad
    raise AssertionError("no clip of the batch has failed")
