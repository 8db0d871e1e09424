"""Decode threads in this process, each library held to one thread inside them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from dataclasses import replace
from types import TracebackType
from typing import Final, ParamSpec, Self, TypeVar

import cv2
import torch
from threadpoolctl import threadpool_limits

from fmrgb_stream.errors import LoaderClosed
from fmrgb_stream.pipelines.cpu.buffers import Block
from fmrgb_stream.pipelines.cpu.layout import ClipArrays, batch_layout
from fmrgb_stream.pipelines.cpu.order import WorkOrder
from fmrgb_stream.pipelines.cpu.results import FailedClip, MadeClip
from fmrgb_stream.pipelines.cpu.work import ClipWorker
from fmrgb_stream.pipelines.read_ahead import ReadAhead
from fmrgb_stream.sample import ClipTask
from fmrgb_stream.storage.stopping import obey

P = ParamSpec("P")
R = TypeVar("R")

THREAD_NAME: Final = "fmrgb-clip"


class _ProcessWideThreads:
    """OpenCV's and BLAS's thread counts belong to the process: 1 while any pool runs, then as before.

    A small matrix product that wakes a thread on every core costs more than it computes.
    """

    def __init__(self) -> None:
        self._num_pools = 0
        self._num_threads_before = 0
        self._blas: threadpool_limits | None = None
        # The garbage collector may stop a forgotten pool inside any call, also in here.
        self._lock = threading.RLock()

    def pin(self) -> None:
        with self._lock:
            self._num_pools += 1
            if self._num_pools == 1:
                self._num_threads_before = cv2.getNumThreads()
                cv2.setNumThreads(1)
                self._blas = threadpool_limits(limits=1, user_api="blas")

    def release(self) -> None:
        with self._lock:
            self._num_pools -= 1
            if self._num_pools == 0:
                cv2.setNumThreads(self._num_threads_before)
                if self._blas is not None:
                    self._blas.restore_original_limits()


_process_wide: Final = _ProcessWideThreads()
_start_lock: Final = threading.Lock()


class WorkerPool:
    """A fixed number of threads that are all there when it is made and all gone after `stop`.

    `torch.set_num_threads` writes two places: the calling thread's own OpenMP setting, and the
    number that threads started later take over. So every worker sets 1 for itself, and then the
    caller sets its own number again: workers compute with one thread each, while this thread and
    those to come keep theirs. OpenCV's and BLAS's numbers belong to the whole process and are 1
    until the last pool stops.
    """

    def __init__(self, num_threads: int) -> None:
        """Start the threads and wait until each has pinned its libraries."""
        self._is_stopped = False
        self._stop_lock = threading.RLock()
        self._threads: set[threading.Thread] = set()
        _process_wide.pin()
        self._executor = ThreadPoolExecutor(num_threads, thread_name_prefix=THREAD_NAME)
        barrier = threading.Barrier(num_threads + 1)

        def pin() -> None:
            self._threads.add(threading.current_thread())
            # A thread's first look takes over the common number, and must not come after the set.
            torch.get_num_threads()
            torch.set_num_threads(1)
            barrier.wait()

        try:
            with _start_lock:
                num_torch_threads = torch.get_num_threads()
                try:
                    for _ in range(num_threads):
                        self._executor.submit(pin)
                    barrier.wait()
                finally:
                    torch.set_num_threads(num_torch_threads)
        except BaseException:
            barrier.abort()
            self.stop()
            raise

    def __enter__(self) -> WorkerPool:
        """The pool itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop."""
        self.stop()

    def submit(self, work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> Future[R]:
        """Queue work; RuntimeError after `stop`."""
        return self._executor.submit(work, *args, **kwargs)

    def stop(self) -> None:
        """Cancel queued work, wait for what is running, end the threads. Safe to call twice.

        The garbage collector may free a forgotten iterator inside one of the pool's own threads.
        That thread cannot wait for itself: then the threads end after the clip they are making.
        """
        is_outside = threading.current_thread() not in self._threads
        try:
            self._executor.shutdown(wait=is_outside, cancel_futures=True)
        finally:
            with self._stop_lock:
                if not self._is_stopped:
                    self._is_stopped = True
                    _process_wide.release()


class _PendingBatch:
    """The clips of one batch in the making."""

    def __init__(self, clips: Sequence[Future[MadeClip | FailedClip]]) -> None:
        self._clips = clips

    def is_ready(self) -> bool:
        return all(clip.done() for clip in self._clips)

    def results(self) -> list[MadeClip | FailedClip]:
        try:
            return [clip.result() for clip in self._clips]
        except CancelledError:
            raise LoaderClosed("the pipeline is closed; build a new one") from None


class ThreadCrew:
    """Decode threads of one run: they end when its `with` block is left."""

    def __init__(self, order: WorkOrder, *, num_workers: int) -> None:
        """Nothing is started yet."""
        self._order = order
        self._num_workers = num_workers
        self._of_thread = threading.local()
        self._pool: WorkerPool | None = None
        self._ahead: ReadAhead | None = None
        self._stop = threading.Event()

    def __enter__(self) -> Self:
        """Start the threads."""
        if self._order.reads_ahead:
            self._ahead = ReadAhead(
                self._order.source,
                num_ahead=self._order.reads_ahead * self._num_workers,
                max_bytes=self._order.read_ahead_bytes * self._num_workers,
            )
            self._order = replace(self._order, source=self._ahead)
        self._pool = WorkerPool(self._num_workers)
        return self

    def __exit__(self, *reason: object) -> None:
        """Cancel what is queued, wait for what is being made, end the threads."""
        try:
            self.stop()
        finally:
            # A second Ctrl-C may have cut the first wait short.
            self.stop()

    def submit(self, tasks: Sequence[ClipTask], block: Block) -> _PendingBatch:
        """Have the clips of one batch made into the block."""
        assert self._pool is not None, "submit() outside the run"
        layout = batch_layout(self._order.clip, self._order.span, len(tasks))
        if self._ahead is not None:
            self._ahead.expect(tasks)
        try:
            return _PendingBatch(
                [
                    self._pool.submit(self._make, task, layout.clip(block.memory, place))
                    for place, task in enumerate(tasks)
                ]
            )
        except RuntimeError as error:
            raise LoaderClosed("the pipeline is closed; build a new one") from error

    def collect(self) -> None:
        """Nothing to do: threads put their clips down themselves."""

    def stop(self) -> None:
        """End the threads. From any thread, at any time; safe to call twice."""
        self._stop.set()  # who waits for a server that fails, waits no longer
        if self._ahead is not None:
            # First, so that threads which wait for bytes that nobody wants any more go on.
            self._ahead.close(wait=False)
        if self._pool is not None:
            self._pool.stop()
        if self._ahead is not None:
            self._ahead.close()

    def _make(self, task: ClipTask, arrays: ClipArrays) -> MadeClip | FailedClip:
        worker: ClipWorker | None = getattr(self._of_thread, "worker", None)
        if worker is None:
            obey(self._stop)
            worker = self._of_thread.worker = ClipWorker(self._order)
        return worker.make(task, arrays)
