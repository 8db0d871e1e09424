"""Decode processes: forks of a small host process, fed through sockets that keep messages whole.

Threads that decode share one interpreter lock with each other and with the training loop; a clip
takes it some two hundred times. Processes do not, and scale with the cores. They are programs of
their own (`host.py`), not forks of the consumer, so its threads, GPU and open connections are of no
concern, and its main module is not run again.
"""

from __future__ import annotations

import contextlib
import math
import os
import pickle
import select
import signal
import socket
import subprocess
import sys
import threading
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self

from fmrgb_stream.errors import ConfigError, LoaderClosed, WorkerDied
from fmrgb_stream.pipelines.cpu.buffers import Block
from fmrgb_stream.pipelines.cpu.messages import MAX_MESSAGE_BYTES, Control, Job, Reply
from fmrgb_stream.pipelines.cpu.order import WorkOrder
from fmrgb_stream.pipelines.cpu.results import FailedClip, MadeClip
from fmrgb_stream.sample import ClipTask

MAX_JOBS_AHEAD: Final = 128
"""Jobs that wait at the same time; large batches travel as several clips a job."""
SOCKET_BYTES: Final = 1 << 20
PATIENCE_SECONDS: Final = 2.0
"""Workers that have not ended this long after the sockets are killed: they only read."""
# One thread a library in every worker; set before the libraries are loaded.
WORKER_ENVIRONMENT: Final = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    # glibc keeps the memory of a clip's passing arrays for the next clip. Without this they come
    # fresh from the kernel each time, which costs 180 page faults a clip.
    "MALLOC_MMAP_THRESHOLD_": str(1 << 26),
    "MALLOC_TRIM_THRESHOLD_": str(1 << 28),
    # Arrow's allocator would start a thread in the host, whose forks then wait for it for ever.
    "JE_ARROW_MALLOC_CONF": "background_thread:false",
}
_HOST: Final = (
    "import pickle, sys; sys.path[:] = pickle.load(sys.stdin.buffer); "
    "from fmrgb_stream.pipelines.cpu.host import main; main({})"
)


def processes_are_possible() -> bool:
    """Whether this system has what the crew is made of."""
    return (
        hasattr(os, "memfd_create") and hasattr(socket, "SOCK_SEQPACKET") and bool(sys.executable)
    )


@dataclass(frozen=True, slots=True)
class _Host:
    """A running host and this side's ends of what connects it."""

    process: subprocess.Popen[bytes]
    jobs: socket.socket
    replies: socket.socket
    alarm: int
    control: Control
    events: select.poll
    """Of `replies` and `alarm`; unlike select() it takes descriptors of any number."""


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
            self._crew.receive()
        made = [clip for clip in self.clips if clip is not None]
        if len(made) < len(self.clips):
            raise LoaderClosed(
                "another iterator of this pipeline has ended and dropped these clips"
            )
        return made


class ProcessCrew:
    """Decode processes that live until `stop`. One run at a time, in the process that began it."""

    def __init__(self, order: WorkOrder, *, num_workers: int, max_pending_clips: int) -> None:
        """Nothing is started yet."""
        self._order = order
        self._num_workers = num_workers
        self._clips_a_job = math.ceil(max_pending_clips / MAX_JOBS_AHEAD)
        self._host: _Host | None = None
        self._finalizer: weakref.finalize[..., ProcessCrew] | None = None
        self._pid = os.getpid()
        self._session = 0
        self._next_batch = 0
        self._pending: dict[int, _PendingBatch] = {}
        self._is_stopped = False
        self._lock = threading.RLock()

    def __enter__(self) -> Self:
        """Start the processes if this is the first run."""
        if os.getpid() != self._pid:
            raise ConfigError(
                "this loader was built before a fork and its decode processes belong to the parent; "
                "build the loader in the child"
            )
        with self._lock:
            if self._host is None and not self._is_stopped:
                self._host = _start(self._order, self._num_workers)
                self._finalizer = weakref.finalize(self, _end, self._host, os.getpid())
        return self

    def __exit__(self, *reason: object) -> None:
        """Have queued jobs skipped and wait for the clips that are being written."""
        self._session += 1
        if self._host is None or self._is_stopped or os.getpid() != self._pid:
            return
        self._host.control.want(self._session)
        with contextlib.suppress(LoaderClosed, WorkerDied):
            while self._pending:
                self.receive()

    def allocate(self, num_bytes: int) -> Block:
        """Memory that the processes can map."""
        return Block.shared(num_bytes)

    def submit(self, tasks: Sequence[ClipTask], block: Block) -> _PendingBatch:
        """Have the clips of one batch made into the block."""
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

    def receive(self, *, waits: bool = True) -> bool:
        """Take in one reply; whether there was one.

        Raises:
            LoaderClosed: the crew was stopped.
            WorkerDied: a process has ended.
        """
        host = self._running()
        try:
            ready = dict(host.events.poll(None if waits else 0))
            if host.replies.fileno() in ready:
                message = host.replies.recv(MAX_MESSAGE_BYTES)
                if message:
                    self._take(pickle.loads(message))
                    return True
        except (OSError, ValueError):
            # stop() in another thread has closed the sockets.
            self._running()
            raise
        if ready:
            self._running()
            self._raise_death(host)
        return False

    def stop(self) -> None:
        """End the processes. From any thread, at any time; safe to call twice."""
        with self._lock:
            self._is_stopped = True
            if self._finalizer is not None:
                self._finalizer()

    def _running(self) -> _Host:
        if self._is_stopped or self._host is None:
            raise LoaderClosed("the pipeline is closed; build a new one")
        return self._host

    def _send(self, host: _Host, message: bytes, descriptor: int) -> None:
        while True:
            try:
                socket.send_fds(host.jobs, [message], [descriptor], socket.MSG_DONTWAIT)
                return
            except BlockingIOError:
                # The queue is full. Workers that wait for us to take replies must not wait forever.
                self.receive()
            except (BrokenPipeError, ConnectionResetError):
                self._running()
                self._raise_death(host)

    def _take(self, reply: Reply) -> None:
        pending = self._pending[reply.batch]
        pending.clips[reply.place] = reply.result
        pending.num_missing -= 1
        if pending.num_missing == 0:
            del self._pending[reply.batch]

    def _raise_death(self, host: _Host) -> None:
        words = os.read(host.alarm, MAX_MESSAGE_BYTES).decode()
        self.stop()
        raise WorkerDied(
            f"a decode process {words or 'ended without a word'}. Its own output, if any, is above. "
            "Run `fmrgb verify` if it names a sample; lower num_workers or batch_size if memory is "
            "short"
        )


def _start(order: WorkOrder, num_workers: int) -> _Host:
    jobs, jobs_there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    replies, replies_there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for end in (jobs, replies_there):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SOCKET_BYTES)
    alarm, alarm_there = os.pipe()
    control = Control.create(num_workers)
    there = (jobs_there.fileno(), replies_there.fileno(), alarm_there, control.descriptor)
    code = _HOST.format(", ".join(map(str, there)))
    content = pickle.dumps(sys.path) + pickle.dumps((order, num_workers))
    try:
        process = subprocess.Popen(
            [sys.executable, "-c", code],
            stdin=subprocess.PIPE,
            pass_fds=there,
            env=os.environ | WORKER_ENVIRONMENT,
            # A group of its own: Ctrl-C goes to the consumer, which ends them.
            process_group=0,
        )
    finally:
        for descriptor in (alarm_there, control.descriptor):
            os.close(descriptor)
        jobs_there.close()
        replies_there.close()
    assert process.stdin is not None, "it was asked for"
    with contextlib.suppress(BrokenPipeError), process.stdin:
        process.stdin.write(content)
    events = select.poll()
    for end in (replies, alarm):
        events.register(end, select.POLLIN)
    return _Host(process, jobs, replies, alarm, control, events)


def _end(host: _Host, owner: int) -> None:
    if os.getpid() == owner:
        # Wakes a consumer that waits in another thread; closing alone would not.
        for end in (host.jobs, host.replies):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        try:
            host.process.wait(PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(host.process.pid, signal.SIGKILL)
            host.process.wait()
    host.jobs.close()
    host.replies.close()
    os.close(host.alarm)
