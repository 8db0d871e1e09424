"""Start and end of the host process that decode processes are forked from (see `host.py`)."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import select
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass
from typing import Final

from fmrgb_stream.pipelines.cpu.messages import Control
from fmrgb_stream.pipelines.cpu.order import WorkOrder

SOCKET_BYTES: Final = 1 << 20
PATIENCE_SECONDS: Final = 2.0
"""Workers that have not ended this long after the sockets are killed: they only read."""
# Set before the libraries are loaded.
WORKER_ENVIRONMENT: Final = {
    # One thread a library in every worker.
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    # glibc keeps the memory of a clip's passing arrays for the next clip. Without this they come
    # fresh from the kernel each time, which costs 180 page faults a clip.
    "MALLOC_MMAP_THRESHOLD_": str(1 << 26),
    "MALLOC_TRIM_THRESHOLD_": str(1 << 28),
    # Arrow's own allocator would keep 8 MB a worker for a few kilobytes of index, and one of those
    # it can be built with starts a thread, whose locks no fork could ever open.
    "ARROW_DEFAULT_MEMORY_POOL": "system",
    "JE_ARROW_MALLOC_CONF": "background_thread:false",
}
_PROGRAM: Final = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from fmrgb_stream.pipelines.cpu.host import main; main({})"
)


@dataclass(frozen=True, slots=True)
class Host:
    """A running host and this side's ends of what connects it."""

    process: subprocess.Popen[bytes]
    jobs: socket.socket
    replies: socket.socket
    alarm: int
    """Pipe that says how a worker died."""
    control: Control
    events: select.poll
    """Of `replies` and `alarm`; unlike select() it takes descriptors of any number."""


def start_host(order: WorkOrder, *, num_workers: int, max_blocks: int) -> Host:
    """Start the program; its workers are not there yet, but jobs can be sent.

    Raises:
        OSError: no process or no descriptor can be had; nothing is left behind, as with any error.
    """
    with contextlib.ExitStack() as theirs, contextlib.ExitStack() as ours:
        jobs, jobs_there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.callback(jobs.close)
        theirs.callback(jobs_there.close)
        replies, replies_there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.callback(replies.close)
        theirs.callback(replies_there.close)
        for end in (jobs, replies_there):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SOCKET_BYTES)
        alarm, alarm_there = os.pipe()
        ours.callback(os.close, alarm)
        theirs.callback(os.close, alarm_there)
        control = Control.create(num_workers)
        theirs.callback(os.close, control.descriptor)
        there = (jobs_there.fileno(), replies_there.fileno(), alarm_there, control.descriptor)
        process = subprocess.Popen(
            [
                sys.executable,
                "-P",  # what lies in the current folder is not for it to import
                "-c",
                _PROGRAM.format(", ".join(map(str, there))),
                json.dumps([str(folder) for folder in sys.path]),
            ],
            stdin=subprocess.PIPE,
            pass_fds=there,
            env=os.environ | WORKER_ENVIRONMENT,
            # A group of its own: Ctrl-C goes to the consumer, which ends them.
            process_group=0,
        )
        ours.callback(_kill, process)
        theirs.close()
        assert process.stdin is not None, "it was asked for"
        with contextlib.suppress(BrokenPipeError), process.stdin:
            process.stdin.write(pickle.dumps((order, num_workers, max_blocks)))
        events = select.poll()
        for end in (replies, alarm):
            events.register(end, select.POLLIN)
        host = Host(process, jobs, replies, alarm, control, events)
        ours.pop_all()
        return host


def end_host(host: Host, owner: int) -> None:
    """End the processes and let go of what connected them; in a fork of the owner only the latter.

    Args:
        host: to be ended; not to be used afterwards.
        owner: process id of the one that started it.
    """
    if os.getpid() == owner:
        # Wakes a consumer that waits in another thread; closing alone would not.
        for end in (host.jobs, host.replies):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        try:
            host.process.wait(PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            _kill(host.process)
    host.jobs.close()
    host.replies.close()
    os.close(host.alarm)


def _kill(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
