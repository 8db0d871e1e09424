"""Decode processes: forks of a small host process, fed through sockets that keep messages whole.

Threads that decode share one interpreter lock with each other and with the training loop; a clip
takes it some two hundred times. Processes do not, and scale with the cores. They are programs of
their own (`host.py`), not forks of the consumer, so its threads, GPU and open connections are of no
concern, and its main module is not run again.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import math
import os
import pickle
import socket
import sys
import threading
import time
import weakref
from collections.abc import Callable, Generator, Sequence
from typing import Final, Self

from fmrgb_stream.errors import ConfigError, LoaderClosed, WorkerDied
from fmrgb_stream.pipelines.cpu.buffers import Block
from fmrgb_stream.pipelines.cpu.launch import Host, end_host, start_host
from fmrgb_stream.pipelines.cpu.messages import MAX_MESSAGE_BYTES, Job, Reply
from fmrgb_stream.pipelines.cpu.order import WorkOrder
from fmrgb_stream.pipelines.cpu.results import FailedClip, MadeClip
from fmrgb_stream.sample import ClipTask
from fmrgb_stream.storage import ReadCounts

MAX_JOBS_AHEAD: Final = 128
"""Jobs that wait at the same time, as far as this is in our hands; sockets hold some 200."""
MAX_CLIPS_A_JOB: Final = 4
"""Fewer messages than clips, but a worker answers often enough to be seen alive."""
MAX_CLIP_SECONDS: Final = 5.0
"""A clip that takes longer is not waited for when its loop is left."""
SILENCE_SECONDS: Final = 60.0
_RETRY_SECONDS: Final = 0.005
logger = logging.getLogger(__name__)


def processes_are_possible() -> bool:
    """Whether this system has what the crew is made of."""
    return (
        hasattr(os, "memfd_create") and hasattr(socket, "SOCK_SEQPACKET") and bool(sys.executable)
    )


class _PendingBatch:
    """The clips of one batch; filled while the crew receives."""

    def __init__(self, crew: ProcessCrew, num_clips: int, block: Block) -> None:
        self._crew = crew
        # Nobody else may get this memory before the last worker has left it.
        self._block = block
        self.clips: list[MadeClip | FailedClip | None] = [None] * num_clips
        self.num_missing = num_clips

    def is_ready(self) -> bool:
        return self.num_missing == 0

    def results(self) -> list[MadeClip | FailedClip]:
        while self.num_missing:
            self._crew.wait()
        made = [clip for clip in self.clips if clip is not None]
        if len(made) < len(self.clips):
            raise LoaderClosed(
                "another iterator of this pipeline has ended and dropped these clips"
            )
        return made


class ProcessCrew:
    """Decode processes that live until `stop`. One run at a time, in the process that began it."""

    def __init__(
        self,
        order: WorkOrder,
        *,
        num_workers: int,
        batch_size: int,
        max_pending_batches: int,
        note_reads: Callable[[ReadCounts], None],
    ) -> None:
        """Nothing is started yet; `note_reads` is told what the processes have read."""
        self._note_reads = note_reads
        self._order = order
        self._num_workers = num_workers
        # Two jobs a worker and batch at least, so that all workers finish a batch at the same time.
        shared_out = min(batch_size // (2 * num_workers), MAX_CLIPS_A_JOB)
        least = math.ceil(max_pending_batches * batch_size / MAX_JOBS_AHEAD)
        self._clips_a_job = max(shared_out, least)
        # What the pool can hand out again, and one that has just been given up.
        self._max_blocks = max_pending_batches + 3
        self._host: Host | None = None
        self._finalizer: weakref.finalize[..., ProcessCrew] | None = None
        self._pid = os.getpid()
        self._session = 0
        self._next_batch = 0
        self._pending: dict[int, _PendingBatch] = {}
        self._is_whole = True
        self._death = ""
        self._is_stopped = False
        self._lock = threading.RLock()

    def __enter__(self) -> Self:
        """Start the processes if there are none."""
        self._check_process()
        with self._lock:
            if not self._is_whole:
                self._drop_host()
            if self._host is None and not self._is_stopped:
                with self._in_one_piece():
                    host = start_host(
                        self._order, num_workers=self._num_workers, max_blocks=self._max_blocks
                    )
                    self._host = host
                    self._finalizer = weakref.finalize(self, end_host, host, self._pid)
        return self

    def __exit__(self, *reason: object) -> None:
        """Have queued jobs skipped and wait for the clips that are being written."""
        self._session += 1
        with contextlib.suppress(LoaderClosed, WorkerDied, ConfigError):
            host = self._running()
            if not self._is_whole:
                self._drop_host()
                return
            host.control.want(self._session)
            while self._pending:
                if not self.receive(timeout_seconds=MAX_CLIP_SECONDS):
                    # Stuck, in a file system for one. Whoever leaves the loop must get out of it.
                    self._drop_host()

    def allocate(self, num_bytes: int) -> Block:
        """Memory that the processes can map.

        Raises:
            ConfigError: this process may not open more files.
        """
        try:
            return Block.shared(num_bytes)
        except OSError as error:
            if error.errno not in (errno.EMFILE, errno.ENFILE):
                raise
            raise ConfigError(
                "no file can be opened for one more batch: each batch that is kept holds two. Let "
                "batches go (a copy of a tensor holds none), allow more files (`ulimit -n`), or "
                "set worker_kind='thread'"
            ) from error

    def submit(self, tasks: Sequence[ClipTask], block: Block) -> _PendingBatch:
        """Have the clips of one batch made into the block."""
        with self._in_one_piece():
            host, batch = self._running(), self._next_batch
            self._next_batch += 1
            pending = self._pending[batch] = _PendingBatch(self, len(tasks), block)
            places = list(enumerate(tasks))
            assert block.file_descriptor is not None, "the block is private to this process"
            for start in range(0, len(places), self._clips_a_job):
                job = Job(
                    session=self._session,
                    batch=batch,
                    batch_size=len(tasks),
                    block=block.serial,
                    num_bytes=len(block.memory),
                    places=tuple(places[start : start + self._clips_a_job]),
                )
                self._send(host, pickle.dumps(job), block.file_descriptor)
        return pending

    def receive(self, *, timeout_seconds: float) -> bool:
        """Take in one reply; whether there was one.

        Raises:
            LoaderClosed: the crew was stopped.
            WorkerDied: a process has ended.
        """
        host = self._running()
        try:
            ready = dict(host.events.poll(timeout_seconds * 1000))
            if host.replies.fileno() in ready:
                with self._in_one_piece():
                    message = host.replies.recv(MAX_MESSAGE_BYTES)
                    if message:
                        self._take(pickle.loads(message))
                if message:
                    return True
        except (OSError, ValueError):
            # stop() in another thread has closed the sockets.
            self._running()
            raise
        if ready:
            self._running()
            self._raise_death(host)
        return False

    def collect(self) -> None:
        """Take in the replies that are there."""
        while self.receive(timeout_seconds=0):
            pass

    def wait(self) -> None:
        """Take in one reply, however long it takes; say now and then that it does."""
        while not self.receive(timeout_seconds=SILENCE_SECONDS):
            samples = self._running().control.samples()
            logger.warning(
                "no clip for %.0f s; the decode processes are at %s (storage that does not "
                "answer, or a very long decode)",
                SILENCE_SECONDS,
                ", ".join(samples) or "nothing",
            )

    def stop(self) -> None:
        """End the processes. From any thread, at any time; safe to call twice."""
        with self._lock:
            self._is_stopped = True
            if self._finalizer is not None:
                self._finalizer()

    @contextlib.contextmanager
    def _in_one_piece(self) -> Generator[None]:
        """Note whether what is inside was broken off, by Ctrl-C for one.

        Replies would then be missing or surplus, and waiting for them might never end; a crew that
        is not whole gets new processes for its next run.
        """
        was_whole, self._is_whole = self._is_whole, False
        yield
        self._is_whole = was_whole

    def _drop_host(self) -> None:
        if self._finalizer is not None:
            self._finalizer()
        elif self._host is not None:
            end_host(self._host, self._pid)
        self._host = self._finalizer = None
        self._pending.clear()
        self._is_whole = True

    def _check_process(self) -> None:
        if os.getpid() != self._pid:
            raise ConfigError(
                "this loader was built before a fork and its decode processes belong to the parent; "
                "build the loader in the child"
            )

    def _running(self) -> Host:
        self._check_process()
        if self._death:
            raise WorkerDied(self._death)
        # A finalizer that is not alive has run: by stop(), or because the interpreter ends.
        is_ended = self._finalizer is not None and not self._finalizer.alive
        if self._is_stopped or self._host is None or is_ended:
            raise LoaderClosed("the pipeline is closed; build a new one")
        return self._host

    def _send(self, host: Host, message: bytes, descriptor: int) -> None:
        while True:
            try:
                socket.send_fds(host.jobs, [message], [descriptor], socket.MSG_DONTWAIT)
                return
            except BlockingIOError:
                # The queue is full. Workers that wait for us to take replies must not wait forever.
                self.wait()
            except (BrokenPipeError, ConnectionResetError):
                self._running()
                self._raise_death(host)
            except OSError as error:
                # Too many descriptors are on their way, those of this user's other loaders
                # included; so a reply of ours may not be what makes room.
                if error.errno != errno.ETOOMANYREFS:
                    raise
                if not self.receive(timeout_seconds=0):
                    time.sleep(_RETRY_SECONDS)

    def _take(self, reply: Reply) -> None:
        self._note_reads(reply.reads)
        pending = self._pending[reply.batch]
        for place, result in reply.clips:
            pending.clips[place] = result
        pending.num_missing -= len(reply.clips)
        if pending.num_missing == 0:
            del self._pending[reply.batch]

    def _raise_death(self, host: Host) -> None:
        words = os.read(host.alarm, MAX_MESSAGE_BYTES).decode()
        self.stop()
        code = host.process.returncode
        self._death = (
            f"a decode process {words}"
            if words
            else f"the host of the decode processes has ended (exit code {code}) without a word; "
            "its own output, if any, is above"
        )
        raise WorkerDied(self._death)
