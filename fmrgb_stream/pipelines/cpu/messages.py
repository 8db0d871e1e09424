"""What the consumer and its decode processes tell each other. Values travel in shared memory."""

from __future__ import annotations

import mmap
import os
import pickle
import traceback
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from fmrgb_stream.errors import ConfigError, FmrgbError
from fmrgb_stream.pipelines.cpu import watch
from fmrgb_stream.pipelines.cpu.results import FailedClip, MadeClip
from fmrgb_stream.sample import ClipTask
from fmrgb_stream.storage import NOTHING_READ, ReadCounts

MAX_MESSAGE_BYTES: Final = 1 << 16
MAX_TRACEBACK_CHARACTERS: Final = 8192


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """Clips to make; the file of the batch's memory travels with it."""

    session: int
    batch: int
    """Number of the batch, for the reply."""
    batch_size: int
    block: int
    """Serial number of the batch's memory."""
    num_bytes: int
    places: tuple[tuple[int, ClipTask], ...]
    """(place in the batch, task) of each clip."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What became of the clips of one job, or of some of them."""

    batch: int
    clips: tuple[tuple[int, MadeClip | FailedClip | None], ...]
    """(place in the batch, result) of each; None when it was not wanted any more."""
    reads: ReadCounts = NOTHING_READ
    """Of the process since its last reply."""


def pack_reply(reply: Reply) -> list[bytes]:
    """The reply as one message, or as one a clip when a clip failed or they are too long."""
    if not any(isinstance(result, FailedClip) for _, result in reply.clips):
        message = pickle.dumps(reply)
        if len(message) <= MAX_MESSAGE_BYTES:
            return [message]
    first, *others = reply.clips
    parts = [replace(reply, clips=(first,))]
    parts += [Reply(batch=reply.batch, clips=(clip,)) for clip in others]
    return [_pack_one(part) for part in parts]


def _pack_one(reply: Reply) -> bytes:
    """One clip as a message. An error takes its traceback along as a note."""
    ((place, result),) = reply.clips
    if not isinstance(result, FailedClip):
        message = pickle.dumps(reply)
        if len(message) <= MAX_MESSAGE_BYTES:
            return message
        error = ConfigError(
            f"what is known of a sample takes {len(message)} bytes, more than the "
            f"{MAX_MESSAGE_BYTES} that a decode process can send; set worker_kind='thread'"
        )
        return pickle.dumps(_failed(reply.batch, place, error))
    error = result.error
    if not isinstance(error, FmrgbError):
        lines = "".join(traceback.format_exception(error))[-MAX_TRACEBACK_CHARACTERS:]
        error.add_note(f"in a decode process:\n{lines}")
    try:
        message = pickle.dumps(reply)
        pickle.loads(message)
    except Exception:  # noqa: BLE001 - an error of any library, which may refuse in any way
        message = b""
    if 0 < len(message) <= MAX_MESSAGE_BYTES:
        return message
    short = RuntimeError(f"{type(error).__name__}: {error}"[:MAX_TRACEBACK_CHARACTERS])
    return pickle.dumps(_failed(reply.batch, place, short))


def _failed(batch: int, place: int, error: Exception) -> Reply:
    return Reply(batch=batch, clips=((place, FailedClip(error=error, bad_samples=())),))


class Control:
    """A page that all processes see: which session is wanted, and what each worker is at.

    int64: [0] the oldest session whose jobs are wanted; [1 + n] what worker n is at (see
    `watch.name_of`), -1 at rest.
    Every word has one writer.
    """

    def __init__(self, descriptor: int, num_bytes: int) -> None:
        """Map the file."""
        self.descriptor = descriptor
        self._words = np.frombuffer(mmap.mmap(descriptor, num_bytes), np.int64)

    @classmethod
    def create(cls, num_workers: int) -> Control:
        """A new page; the caller closes its descriptor."""
        descriptor = os.memfd_create("fmrgb-control")
        num_bytes = 8 * (1 + num_workers)
        os.ftruncate(descriptor, num_bytes)
        control = cls(descriptor, num_bytes)
        control._words[1:] = -1
        return control

    @classmethod
    def opened(cls, descriptor: int) -> Control:
        """The page of another process."""
        return cls(descriptor, os.fstat(descriptor).st_size)

    def want(self, session: int) -> None:
        """From now on only jobs of this session or later ones are wanted."""
        self._words[0] = session

    def is_wanted(self, session: int) -> bool:
        """Whether jobs of this session are still to be done."""
        return session >= int(self._words[0])

    def begin(self, worker: int, task: ClipTask) -> None:
        """Note what a worker is at."""
        self._words[1 + worker] = (task.source << watch.SAMPLE_BITS) + task.sample_id

    def rest(self, worker: int) -> None:
        """Note that a worker is at nothing."""
        self._words[1 + worker] = -1

    def samples(self) -> list[str]:
        """The samples that are being made."""
        return [watch.name_of(int(word)) for word in self._words[1:] if word >= 0]
