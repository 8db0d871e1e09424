"""The process that decode processes are forked from, and what each of them does.

The host imports the libraries once, as a process of one thread that has neither torch's memory nor
the trainer's; its forks share those pages. The forks take jobs from one socket and answer on
another. Both sockets keep messages whole, so the kernel is the queue: there is no lock that a
killed process could hold, and a job goes to whoever is free. When the consumer is gone, in whatever
way, the sockets end and with them all these processes.
"""

from __future__ import annotations

import contextlib
import gc
import os
import pickle
import signal
import socket
import sys
import traceback
from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn

import cv2

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
from fmrgb_stream.pipelines.cpu.work import ClipWorker

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MAX_MAPPED_BLOCKS: Final = 64
"""A process keeps this many batches mapped; to map one again costs its page faults."""


def main(jobs_fd: int, replies_fd: int, alarm_fd: int, control_fd: int) -> None:
    """Read (order, number of workers) from standard input, fork the workers, wait for their end.

    Args:
        jobs_fd: socket that jobs come from.
        replies_fd: socket that replies go to.
        alarm_fd: pipe that says how a worker died; it ends with this process.
        control_fd: shared memory, see `Control`.
    """
    _name_process("fmrgb-host")
    content = sys.stdin.buffer.read()
    if not content:
        return  # The consumer is gone already.
    num_workers: int = _order(content)[1]
    control = Control.opened(control_fd)
    cv2.setNumThreads(1)
    # What is there now stays shared with the forks: the collector does not touch it any more.
    gc.collect()
    gc.freeze()
    threads = [name.read_text().strip() for name in Path("/proc/self/task").glob("*/comm")]
    if len(threads) > 1:
        # Its locks would be copied as they are, and nobody would ever open them in a fork.
        words = f"could not be forked, because a library has started threads: {sorted(threads)}"
        os.write(alarm_fd, words.encode())
        return
    numbers: dict[int, int] = {}
    for number in range(num_workers):
        process = os.fork()
        if process == 0:
            os.close(alarm_fd)
            _name_process(f"fmrgb-clip-{number}")
            _work_and_exit(content, jobs_fd, replies_fd, control, number)
        numbers[process] = number
    os.close(jobs_fd)
    os.close(replies_fd)
    while numbers:
        process, status = os.wait()
        number = numbers.pop(process)
        if status:
            os.write(alarm_fd, _last_words(number, status, control).encode())
            for other in numbers:
                os.kill(other, signal.SIGKILL)
            return


def _order(content: bytes) -> tuple[WorkOrder, int]:
    """The order and the number of workers; loads the libraries that the order needs."""
    order: WorkOrder
    order, num_workers = pickle.loads(content)
    ClipWorker(order)
    return order, num_workers


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
        order, _ = _order(content)
        _serve(ClipWorker(order), order, jobs, replies, control, number)
    except (BrokenPipeError, ConnectionResetError):
        pass  # The consumer is gone.
    except BaseException:  # noqa: BLE001 - the edge of a process
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def _serve(
    worker: ClipWorker,
    order: WorkOrder,
    jobs: socket.socket,
    replies: socket.socket,
    control: Control,
    number: int,
) -> None:
    blocks: OrderedDict[int, NDArray[np.uint8]] = OrderedDict()
    while True:
        message, descriptors, _, _ = socket.recv_fds(jobs, MAX_MESSAGE_BYTES, 1)
        if not message:
            return
        job: Job = pickle.loads(message)
        memory = _mapped(blocks, job, descriptors[0])
        layout = batch_layout(order.clip, order.span, job.batch_size)
        for place, task in job.places:
            result = None
            if control.is_wanted(job.session):
                control.begin(number, task.sample_id)
                result = worker.make(task, layout.clip(memory, place))
                control.rest(number)
            replies.send(pack_reply(Reply(batch=job.batch, place=place, result=result)))


def _mapped(
    blocks: OrderedDict[int, NDArray[np.uint8]], job: Job, descriptor: int
) -> NDArray[np.uint8]:
    memory = blocks.pop(job.block, None)
    if memory is None:
        memory = map_shared(descriptor, job.num_bytes)
    os.close(descriptor)
    blocks[job.block] = memory
    if len(blocks) > MAX_MAPPED_BLOCKS:
        blocks.popitem(last=False)
    return memory


def _last_words(number: int, status: int, control: Control) -> str:
    code = os.waitstatus_to_exitcode(status)
    if code == -signal.SIGKILL:
        end = "was killed (SIGKILL), which is what the kernel does when memory runs out"
    elif code < 0:
        end = f"crashed ({signal.Signals(-code).name})"
    else:
        end = f"ended with exit code {code}"
    sample_id = control.sample_of(number)
    return f"{end}, {'at rest' if sample_id is None else f'making sample {sample_id}'}"
