"""Tasks -> ready batches, prepared by threads some batches ahead, in order."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from typing import Final, Self

from fmrgb_stream.errors import LoaderClosed
from fmrgb_stream.pipelines.dali.prepare import ClipPreparer, FailedClip, PrepareOrder, ReadyClip
from fmrgb_stream.pipelines.dali.run import ReadyBatch
from fmrgb_stream.pipelines.quarantine import BadSample
from fmrgb_stream.sample import ClipTask

THREAD_NAME: Final = "fmrgb-feed"


class PrepareCrew:
    """Threads that prepare clips; they end when the `with` block is left."""

    def __init__(
        self, order: PrepareOrder, *, num_workers: int, num_ahead: int, host_share: float
    ) -> None:
        """Nothing is started yet.

        Args:
            order: what to prepare and how.
            num_workers: threads.
            num_ahead: batches in preparation while the graph has enough.
            host_share: 0..1, which part of each batch is decoded by these threads.
        """
        self._order = order
        self._num_workers = num_workers
        self._num_ahead = num_ahead
        self.host_share = host_share
        """May be changed while it runs, for the batches that follow."""
        self._of_thread = threading.local()
        self._threads: set[threading.Thread] = set()
        self._executor: ThreadPoolExecutor | None = None
        self.failure: tuple[BaseException, Sequence[BadSample]] | None = None
        """Why `batches` ended early, and the bad samples that led to it."""

    def __enter__(self) -> Self:
        """Take on work; threads start with it."""
        self._executor = ThreadPoolExecutor(self._num_workers, thread_name_prefix=THREAD_NAME)
        return self

    def __exit__(self, *reason: object) -> None:
        """Stop."""
        self.stop()

    def stop(self) -> None:
        """Drop what is queued, wait for what is being prepared. From any thread, also twice."""
        if self._executor is not None:
            # The garbage collector may end a forgotten run inside one of these threads, which
            # cannot wait for itself.
            is_outside = threading.current_thread() not in self._threads
            self._executor.shutdown(wait=is_outside, cancel_futures=True)

    def batches(self, tasks: Iterator[Sequence[ClipTask]]) -> Iterator[ReadyBatch]:
        """The batches in order, up to the first that cannot be made: see `failure`.

        Raises:
            LoaderClosed: stopped meanwhile.
        """
        waiting: deque[list[Future[ReadyClip | FailedClip]]] = deque()
        while True:
            while len(waiting) < self._num_ahead and (listed := next(tasks, None)) is not None:
                waiting.append(self._submit(listed))
            if not waiting:
                return
            clips = self._results(waiting.popleft())
            good = [clip for clip in clips if isinstance(clip, ReadyClip)]
            if len(good) < len(clips):
                self.failure = _failure(clips)
                return
            yield ReadyBatch(clips=tuple(good))

    def _submit(self, tasks: Sequence[ClipTask]) -> list[Future[ReadyClip | FailedClip]]:
        assert self._executor is not None, "batches() outside the run"
        share = self.host_share
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

    def _results(
        self, clips: Sequence[Future[ReadyClip | FailedClip]]
    ) -> list[ReadyClip | FailedClip]:
        try:
            return [clip.result() for clip in clips]
        except CancelledError:
            raise LoaderClosed("the pipeline is closed; build a new one") from None

    def _prepare(self, task: ClipTask, on_host: bool) -> ReadyClip | FailedClip:
        preparer: ClipPreparer | None = getattr(self._of_thread, "preparer", None)
        if preparer is None:
            self._threads.add(threading.current_thread())
            preparer = self._of_thread.preparer = ClipPreparer(self._order)
        return preparer.prepare(task, on_host=on_host)


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
