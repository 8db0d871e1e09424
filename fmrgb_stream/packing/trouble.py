"""An exception -> the machine's fault or the input's. A full disk must not reject a good video."""

from __future__ import annotations

import errno
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from av.error import FFmpegError

from fmrgb_stream.errors import PackError

_CURES: Final = {
    errno.ENOSPC: "free space there",
    errno.EDQUOT: "free space there, or raise the quota",
    errno.EMFILE: "raise the limit of open files (ulimit -n), or use fewer num_workers",
    errno.ENFILE: "close other programs that hold many files open",
    errno.ENOMEM: "free memory, or use fewer num_workers",
    errno.EIO: "look after the disk",
    errno.EROFS: "make it writable",
}
_READ_BYTES: Final = 1 << 24
_SPARE_BYTES: Final = 1 << 28
"""Memory that can still be had: then the machine is not short of it."""


def machine_trouble(error: BaseException, source: Path) -> PackError | None:
    """The error to stop with when the machine failed, not the file `source`; None otherwise.

    Looks at the exception and its causes.
    """
    for link in chain(error):
        number = errno.ENOMEM if isinstance(link, MemoryError) else getattr(link, "errno", None)
        if number not in _CURES:
            continue
        if isinstance(link, FFmpegError) and not _is_confirmed(number, source):
            continue
        return stopped(link, number=number, place=str(source))
    return None


def stopped(error: BaseException, *, number: int | None = None, place: str = "") -> PackError:
    """The error that ends the run: what happened, and what to do."""
    number = number or getattr(error, "errno", None)
    cure = _CURES.get(number or 0, "see to it")
    where = f" (while packing {place})" if place else ""
    said = str(error) or type(error).__name__
    return PackError(
        f"packing stopped{where}: {said}. The input is not to blame: {cure}, then run the same "
        "command again; finished shards are kept"
    )


@contextmanager
def no_fault_of_input() -> Generator[None]:
    """Around work on our own files: what the system refuses there stops the run.

    Raises:
        PackError: in place of an OSError (FFmpeg's are some too) or MemoryError.
    """
    try:
        yield
    except (OSError, MemoryError) as error:
        raise stopped(error) from error


def chain(error: BaseException) -> Iterator[BaseException]:
    """The exception, what it was raised from, and so on."""
    link: BaseException | None = error
    while link is not None:
        yield link
        link = link.__cause__


def _is_confirmed(number: int, source: Path) -> bool:
    """Whether FFmpeg's EIO or ENOMEM is real.

    Its demuxers say EIO for a file that ends too early, and ENOMEM for an absurd size in a header.
    """
    if number == errno.EIO:
        try:
            with source.open("rb") as stream:
                while stream.read(_READ_BYTES):
                    pass
        except OSError:
            return True
        return False
    if number == errno.ENOMEM:
        try:
            bytearray(_SPARE_BYTES)
        except MemoryError:
            return True
        return False
    return True
