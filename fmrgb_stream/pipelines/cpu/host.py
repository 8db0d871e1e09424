"""The process that decode processes are forked from, and what each of them does.

The host imports the libraries once, as a process of one thread that has neither torch's memory nor
the trainer's; its forks share those pages. The forks take jobs from one socket and answer on
another. Both sockets keep messages whole, so the kernel is the queue: there is no lock that a
killed process could hold, and a job goes to whoever is free. When the consumer is gone, in whatever
way, the sockets end and with them all these processes. The host itself has nothing left to do but
to wait for its forks, and becomes the small program that does (`watch.py`).
"""

from __future__ import annotations

import array
import contextlib
import gc
import os
import pickle
import signal
import socket
import sys
import traceback
from collections import OrderedDict, deque
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import cv2

from fmrgb_stream.pipelines.cpu import watch
from fmrgb_stream.pipelines.cpu.buffers import map_shared
from fmrgb_stream.pipelines.cpu.layout import batch_layout
from fmrgb_stream.pipelines.cpu.messages import (
    MAX_MESSAGE_BYTES,
    Control,
    Job,
    Reply,
    pack_reply,
)
from fmrgb_stream.pipelines.cpu.order import WorkOrder
from fmrgb_stream.pipelines.cpu.results import FailedClip, MadeClip
from fmrgb_stream.pipelines.cpu.work import ClipWorker
from fmrgb_stream.pipelines.read_ahead import ReadAhead

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def main(jobs_fd: int, replies_fd: int, alarm_fd: int, control_fd: int) -> None:
    """Read (order, num_workers, max_blocks) from standard input, fork the workers, become their watch.

    Args:
        jobs_fd: socket that jobs come from.
        replies_fd: socket that replies go to.
        alarm_fd: pipe that says how a worker died; it ends with this process.
        control_fd: shared memory, see `Control`.
    """
    _name_process("fmrgb-host")
    # A consumer that ignores it passes that on, and the kernel would tell nobody of a death.
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    # Ctrl-C is for the consumer, whose end is ours.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    content = sys.stdin.buffer.read()
    try:
        order, num_workers, _ = _unpacked(content)
    except (EOFError, pickle.UnpicklingError):
        return  # The consumer is gone already.
    ClipWorker(order)  # loads the libraries that the order needs
    control = Control.opened(control_fd)
    cv2.setNumThreads(1)
    # What is there now stays shared with the forks: the collector does not touch it any more.
    gc.collect()
    gc.freeze()
    threads = [name.read_text().strip() for name in Path("/proc/self/task").glob("*/comm")]
    if len(threads) > 1:
        # Its locks would be copied as they are, and nobody would ever open them in a fork.
        words = (
            f"could not be forked, because something has started threads: {sorted(threads)}. Set "
            "worker_kind='thread', which does without processes, or keep it (a debugger, a tracer, "
            "a sitecustomize.py) out of them"
        )
        os.write(alarm_fd, words.encode())
        return
    workers: list[int] = []
    for number in range(num_workers):
        process = os.fork()
        if process == 0:
            os.close(alarm_fd)
            _name_process(f"fmrgb-clip-{number}")
            _work_and_exit(content, jobs_fd, replies_fd, control, number)
        workers.append(process)
    os.close(jobs_fd)
    os.close(replies_fd)
    words = [str(number) for number in (alarm_fd, control_fd, *workers)]
    # -I -S: without the user's settings and packages, which it does not need.
    os.execv(sys.executable, [sys.executable, "-I", "-S", str(watch.__file__), *words])


def _unpacked(content: bytes) -> tuple[WorkOrder, int, int]:
    return pickle.loads(content)


def _name_process(name: str) -> None:
    # For `top` and `ps`; the kernel keeps 15 characters.
    with contextlib.suppress(OSError):
        Path("/proc/self/comm").write_text(name)


def _work_and_exit(
    content: bytes, jobs_fd: int, replies_fd: int, control: Control, number: int
) -> NoReturn:
    # A fork must not return into the host's code, nor run its exit handlers.
    try:
        jobs, replies = socket.socket(fileno=jobs_fd), socket.socket(fileno=replies_fd)
        # From the message again: what reads files must not be shared with the other forks.
        order, _, max_blocks = _unpacked(content)
        blocks = _Blocks(max_blocks)
        _serve(order, blocks, jobs, replies, control, number)
    except (BrokenPipeError, ConnectionResetError):
        pass  # The consumer is gone.
    except BaseException:  # noqa: BLE001 - the edge of a process
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def _serve(
    order: WorkOrder,
    blocks: _Blocks,
    jobs: socket.socket,
    replies: socket.socket,
    control: Control,
    number: int,
) -> None:
    ahead = None
    if order.reads_ahead:
        ahead = ReadAhead(
            order.source, num_ahead=order.reads_ahead, max_bytes=order.read_ahead_bytes
        )
        order = replace(order, source=ahead)
    worker, reads = ClipWorker(order), order.source.read_counts()
    for job, memory in _jobs(order, blocks, jobs, ahead):
        layout = batch_layout(order.clip, order.span, job.batch_size)
        clips: list[tuple[int, MadeClip | FailedClip | None]] = []
        for place, task in job.places:
            result = None
            if control.is_wanted(job.session):
                control.begin(number, task)
                result = worker.make(task, layout.clip(memory, place))
                control.rest(number)
            elif ahead is not None:
                ahead.forget(task)
            clips.append((place, result))
        before, reads = reads, order.source.read_counts()
        answer = Reply(batch=job.batch, clips=tuple(clips), reads=reads - before)
        for reply in pack_reply(answer):
            replies.send(reply)


def _jobs(
    order: WorkOrder, blocks: _Blocks, jobs: socket.socket, ahead: ReadAhead | None
) -> Iterator[tuple[Job, NDArray[np.uint8]]]:
    """Jobs with the memory to write to, until the consumer is gone.

    Without read-ahead one is taken when the one before is done, so that each goes to whoever is
    free. With it, as many as keep the reads going, if they are there.
    """
    taken: deque[tuple[Job, NDArray[np.uint8]]] = deque()
    while True:
        while not taken or sum(len(job.places) for job, _ in taken) < order.reads_ahead:
            try:
                message, descriptor = _receive(jobs, wait=not taken)
            except BlockingIOError:
                break
            if not message:
                return
            job: Job = pickle.loads(message)
            taken.append((job, blocks.memory_of(job, descriptor)))
            if ahead is not None:
                ahead.expect(task for _, task in job.places)
        yield taken.popleft()


def _receive(jobs: socket.socket, *, wait: bool) -> tuple[bytes, int]:
    """A message and the file that came with it; BlockingIOError when none is there to be had."""
    # Not socket.recv_fds, which does not pass the flags on.
    flags = 0 if wait else socket.MSG_DONTWAIT
    message, ancillary, _, _ = jobs.recvmsg(MAX_MESSAGE_BYTES, socket.CMSG_LEN(4), flags)
    descriptors = array.array("i", b"".join(content for _, _, content in ancillary))
    return message, descriptors[0] if message else -1


class _Blocks:
    """The batches that a worker has mapped: to map one again costs its page faults.

    Not more of them than the consumer uses over and over, because what is mapped here stays in
    memory when the consumer has long given it up.
    """

    def __init__(self, max_blocks: int) -> None:
        self._max_blocks = max_blocks
        self._memory_of: OrderedDict[int, NDArray[np.uint8]] = OrderedDict()

    def memory_of(self, job: Job, descriptor: int) -> NDArray[np.uint8]:
        memory = self._memory_of.pop(job.block, None)
        if memory is None:
            memory = map_shared(descriptor, job.num_bytes)
        os.close(descriptor)
        self._memory_of[job.block] = memory
        if len(self._memory_of) > self._max_blocks:
            self._memory_of.popitem(last=False)
        return memory
