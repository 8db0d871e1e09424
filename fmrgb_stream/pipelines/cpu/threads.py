"""Decode threads, each library held to one thread inside them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Final, ParamSpec, TypeVar

import cv2
import torch

P = ParamSpec("P")
R = TypeVar("R")

THREAD_NAME: Final = "fmrgb-clip"


class _OpenCvThreads:
    """OpenCV's thread count is one number for the process: 1 while any pool runs, then as before."""

    def __init__(self) -> None:
        self._num_pools = 0
        self._num_threads_before = 0
        # The garbage collector may stop a forgotten pool inside any call, also in here.
        self._lock = threading.RLock()

    def pin(self) -> None:
        with self._lock:
            self._num_pools += 1
            if self._num_pools == 1:
                self._num_threads_before = cv2.getNumThreads()
                cv2.setNumThreads(1)

    def release(self) -> None:
        with self._lock:
            self._num_pools -= 1
            if self._num_pools == 0:
                cv2.setNumThreads(self._num_threads_before)


_opencv_threads: Final = _OpenCvThreads()
_start_lock: Final = threading.Lock()


class WorkerPool:
    """A fixed number of threads that are all there when it is made and all gone after `stop`.

    `torch.set_num_threads` writes two places: the calling thread's own OpenMP setting, and the
    number that threads started later take over. So every worker sets 1 for itself, and then the
    caller sets its own number again: workers compute with one thread each, while this thread and
    those to come keep theirs. OpenCV's number belongs to the whole process and is 1 until the last
    pool stops.
    """

    def __init__(self, num_threads: int) -> None:
        """Start the threads and wait until each has pinned its libraries."""
        self._is_stopped = False
        self._stop_lock = threading.RLock()
        self._threads: set[threading.Thread] = set()
        _opencv_threads.pin()
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
                    _opencv_threads.release()
