"""Clips to come -> their bytes, fetched by threads while other clips are decoded.

A worker that reads from remote storage would stand still for the time of a request before each clip.
Told what comes next, it has that fetched meanwhile: so storage and decoding both go on, and neither
runs away from the other, because no more than `num_ahead` clips, and not more bytes than allowed,
are fetched and not yet decoded.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from typing import Final

from fmrgb_stream.errors import LoaderClosed
from fmrgb_stream.pipelines.base import ClipSource
from fmrgb_stream.sample import ClipTask, PlannedClip
from fmrgb_stream.storage import ReadCounts
from fmrgb_stream.storage.stopping import obey

READS_AHEAD: Final = 8
"""Requests of one worker at a time: hides some 50 ms a request behind 7 ms of decoding a clip."""
THREAD_NAME: Final = "fmrgb-read"


class ReadAhead:
    """A `ClipSource` that has fetched what it was told to expect. Safe to use from many threads."""

    def __init__(self, source: ClipSource, *, num_ahead: int, max_bytes: int) -> None:
        """Nothing is fetched yet.

        Args:
            source: what really fetches.
            num_ahead: clips that are fetched, or being fetched, before they are asked for.
            max_bytes: what they may take together, judged by the largest so far; one may always.
        """
        self._source = source
        self._num_ahead = num_ahead
        self._max_bytes = max_bytes
        self._largest_bytes = 0
        self._expected: deque[ClipTask] = deque()
        self._fetches: dict[ClipTask, Future[PlannedClip]] = {}
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._own: set[threading.Thread] = set()
        self._threads = ThreadPoolExecutor(
            num_ahead,
            thread_name_prefix=THREAD_NAME,
            initializer=_begin,
            initargs=(self._own, self._stop),
        )
        self._is_closed = False

    def expect(self, tasks: Iterable[ClipTask]) -> None:
        """These will be asked for next, about in this order."""
        with self._lock:
            self._expected.extend(tasks)
            self._begin_more()

    def fetch(self, task: ClipTask) -> PlannedClip:
        """The clip, at once if it was fetched ahead (see `ClipSource.fetch`).

        Raises:
            FmrgbError: the bytes cannot be had, are corrupt, or cannot be planned.
            LoaderClosed: closed meanwhile.
        """
        fetch = self._taken(task)
        if fetch is None:
            planned = self._source.fetch(task)
        else:
            try:
                planned = fetch.result()
            except CancelledError:
                raise LoaderClosed("the pipeline is closed; build a new one") from None
        sample = planned.sample
        members = (sample.video, sample.audio, sample.flow, sample.matte)
        num_bytes = sum(len(member) for member in members if member is not None)
        with self._lock:
            self._largest_bytes = max(self._largest_bytes, num_bytes)
        return planned

    def forget(self, task: ClipTask) -> None:
        """It will not be asked for after all."""
        fetch = self._taken(task)
        if fetch is not None:
            fetch.cancel()

    def neighbour(self, task: ClipTask, attempt: int) -> ClipTask:
        """See `ClipSource.neighbour`."""
        return self._source.neighbour(task, attempt)

    def describe(self, task: ClipTask) -> tuple[str, str]:
        """See `ClipSource.describe`."""
        return self._source.describe(task)

    def read_counts(self) -> ReadCounts:
        """See `ClipSource.read_counts`."""
        return self._source.read_counts()

    def close(self, *, wait: bool = True) -> None:
        """Drop what is expected and end the threads; from any thread, also twice."""
        with self._lock:
            self._is_closed = True
            self._expected.clear()
        self._stop.set()
        # The garbage collector may end a forgotten run inside one of these threads.
        is_outside = threading.current_thread() not in self._own
        self._threads.shutdown(wait=wait and is_outside, cancel_futures=True)

    def _taken(self, task: ClipTask) -> Future[PlannedClip] | None:
        """The fetch that was begun for a task, and another one is begun in its place."""
        with self._lock:
            fetch = self._fetches.pop(task, None)
            if fetch is None and task in self._expected:
                self._expected.remove(task)
            self._begin_more()
            return fetch

    def _begin_more(self) -> None:
        while self._expected and not self._is_closed and self._has_room():
            task = self._expected.popleft()
            # The same clip twice, as padding repeats it, is fetched ahead once.
            if task not in self._fetches:
                self._fetches[task] = self._threads.submit(self._source.fetch, task)

    def _has_room(self) -> bool:
        num = len(self._fetches) + 1
        is_within = num * self._largest_bytes <= self._max_bytes
        return num == 1 or (num <= self._num_ahead and is_within)


def _begin(threads: set[threading.Thread], stop: threading.Event) -> None:
    """First thing in each thread."""
    threads.add(threading.current_thread())
    obey(stop)
