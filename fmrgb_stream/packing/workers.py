"""Jobs -> results in the order of the jobs, made by several processes a bounded way ahead.

Processes are not forks of the caller, whose threads and connections do not survive that, but of a
small server process that imports the libraries once and has one thread (`forkserver`). They end when
the caller goes, however it goes: all of them hold the reading end of a pipe whose writing end only
the caller has.
"""

from __future__ import annotations

import itertools
import logging
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any, Final, Self, TypeVar

from fmrgb_stream.errors import PackError

logger = logging.getLogger(__name__)

Job = TypeVar("Job")
Result = TypeVar("Result")

JOBS_AHEAD_PER_WORKER: Final = 4
_START: Final = "forkserver"
_PRELOADED: Final = ["fmrgb_stream.packing.server"]


def start_server() -> None:
    """Have the processes' libraries imported, in a process beside this one, ahead of their use.

    Without effect on a server that this program has started before; processes then import what it
    lacks.
    """
    multiprocessing.get_context(_START).set_forkserver_preload(_PRELOADED)
    forkserver.ensure_running()


class WorkerPool:
    """Processes that run one function over many jobs. With one worker, this process does it."""

    def __init__(self, num_workers: int) -> None:
        """Processes start with the first jobs."""
        self.num_workers = num_workers
        self._executor: ProcessPoolExecutor | None = None
        self._stop_writer: Connection | None = None

    def in_order(
        self,
        function: Callable[[Job], Result],
        jobs: Iterable[Job],
        *,
        name_of: Callable[[Job], str],
    ) -> Generator[Result]:
        """The results, in the order of the jobs. `function` must be importable by name.

        Raises:
            PackError: a process died, e.g. killed because the machine ran out of memory; names
                the jobs that were under way, by `name_of`.
        """
        if self.num_workers == 1:
            return (function(job) for job in jobs)
        return self._spread(function, iter(jobs), name_of)

    def _spread(
        self,
        function: Callable[[Job], Result],
        jobs: Iterator[Job],
        name_of: Callable[[Job], str],
    ) -> Generator[Result]:
        executor = self._start()
        window = JOBS_AHEAD_PER_WORKER * self.num_workers
        pending: deque[tuple[str, Future[Result]]] = deque()

        def submit(count: int) -> None:
            for job in itertools.islice(jobs, count):
                pending.append((name_of(job), executor.submit(function, job)))

        try:
            submit(window)
            while pending:
                result = pending[0][1].result()
                pending.popleft()
                submit(1)
                yield result
        except BrokenProcessPool as error:
            # Processes take jobs in order, so those under way are the first that are not done.
            lost = [name for name, future in pending if not _has_result(future)]
            raise PackError(
                f"a packing process died (one of {self.num_workers}) at one of: "
                f"{', '.join(lost[: self.num_workers])}. Either the machine ran out of memory, or "
                "a file brings the decoder down. Finished shards are kept: run the same command "
                "again, with fewer num_workers, or without that file if it happens again. If it "
                "died at once: a script that calls pack() must do so below "
                "`if __name__ == '__main__':`"
            ) from error
        finally:
            for _, future in pending:
                future.cancel()

    def _start(self) -> ProcessPoolExecutor:
        if self._executor is None:
            start_server()
            context = multiprocessing.get_context(_START)
            stop_reader, self._stop_writer = context.Pipe(duplex=False)
            self._executor = ProcessPoolExecutor(
                self.num_workers, context, initializer=_prepare_process, initargs=(stop_reader,)
            )
        return self._executor

    def close(self, *, now: bool = False) -> None:
        """End the processes; `now` without waiting for what they are doing. Safe to call twice."""
        if self._executor is None or self._stop_writer is None:
            return
        if now:
            self._stop_writer.close()
        self._executor.shutdown(wait=True, cancel_futures=True)
        self._stop_writer.close()
        self._executor = self._stop_writer = None

    def __enter__(self) -> Self:
        """The pool itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close; at once when something went wrong."""
        self.close(now=kind is not None)


def _has_result(future: Future[Any]) -> bool:
    return future.done() and not future.cancelled() and future.exception() is None


def _prepare_process(stop_reader: Connection) -> None:
    """First thing in a new process: Ctrl-C is the parent's, end with it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(
        target=_end_with_parent, args=(stop_reader,), name="fmrgb-pack-watch", daemon=True
    ).start()


def _end_with_parent(stop_reader: Connection) -> None:
    try:
        stop_reader.recv()
    except (EOFError, OSError):
        logger.debug("process %d ends with its parent", os.getpid())
    os._exit(1)
