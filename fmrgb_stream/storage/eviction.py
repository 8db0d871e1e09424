"""Cache folder, limit -> room for one more entry, at the cost of those nobody has used for longest."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_DISK_FULL: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_LOW_WATER: Final = 0.9
"""Eviction goes on until the rest fills this share of the limit, so that it is rare."""

_File = tuple[float, int, Path]
"""Time of last use, bytes, path."""


def try_lock(descriptor: int) -> bool:
    """Take an exclusive flock; False where somebody holds one."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a cache may take."""

    folder: Path
    max_bytes: int
    """Downloads that are running count with their full size."""
    idle_seconds: float
    """Entries used within this time stay."""


def reserve(part: Path, size: int, limits: Limits) -> int | None:
    """A file with its blocks taken, open for writing; None where the limit forbids it.

    Evicting and taking are one step under a lock: else two processes would count the same room.

    Raises:
        OSError: of the disk, for another reason than that it is full.
    """
    if size > limits.max_bytes:
        return None
    lock = os.open(limits.folder / "evict.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        _remove_orphans(limits.folder, but=part)
        part.unlink(missing_ok=True)  # of a process that died
        if not _make_room(limits, size):
            return None
        # The disk may be smaller than the limit; what is in use stays there all the same.
        found = _allocated(part, size)
        if found is None and _make_disk_room(limits, size):
            found = _allocated(part, size)
        return found
    finally:
        fcntl.flock(lock, fcntl.LOCK_UN)  # a forked child has it open too
        os.close(lock)


def _allocated(part: Path, size: int) -> int | None:
    """The file with its blocks taken; None where the disk has no room for them."""
    descriptor = os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.posix_fallocate(descriptor, 0, size)
    except OSError as error:
        os.close(descriptor)
        part.unlink(missing_ok=True)
        if error.errno not in _DISK_FULL:
            raise
        return None
    return descriptor


def _make_room(limits: Limits, needed: int) -> bool:
    """Evict until `needed` bytes fit into the limit, or all that may go; whether they fit."""
    # In this order: a download that ends meanwhile is seen twice, which counts once, and not never.
    parts = _files(limits.folder, "part")
    entries = _files(limits.folder, "data")
    used = sum({path.stem: size for _, size, path in [*parts, *entries]}.values())
    if used + needed <= limits.max_bytes:
        return True
    target = max(0, int(_LOW_WATER * limits.max_bytes) - needed)
    return used - _freed(limits, entries, used - target) + needed <= limits.max_bytes


def _make_disk_room(limits: Limits, needed: int) -> bool:
    """Evict until the disk has room for `needed` bytes; nothing where that cannot be reached."""
    status = os.statvfs(limits.folder)
    missing = needed - status.f_bavail * status.f_frsize
    entries = _files(limits.folder, "data")
    if missing > sum(size for _, size, _ in _idle(limits, entries)):
        return False
    some = int((1 - _LOW_WATER) * sum(size for _, size, _ in entries))
    return _freed(limits, entries, missing + some) >= missing


def _freed(limits: Limits, entries: list[_File], num_bytes: int) -> int:
    """Evict until so many bytes are free, or all that may go; how many are."""
    freed = 0
    for _, size, path in sorted(_idle(limits, entries)):
        if freed >= num_bytes:
            break
        if _evict(path):
            freed += size
    return freed


def _idle(limits: Limits, entries: list[_File]) -> list[_File]:
    oldest = time.time() - limits.idle_seconds
    return [entry for entry in entries if entry[0] <= oldest]


def _files(folder: Path, suffix: str) -> list[_File]:
    """The files with a suffix."""
    found: list[_File] = []
    for path in folder.glob(f"*.{suffix}"):
        with contextlib.suppress(FileNotFoundError):
            status = path.stat()
            found.append((status.st_mtime, status.st_size, path))
    return found


def _evict(path: Path) -> bool:
    """Remove an entry's data unless somebody reads it."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return True
    try:
        if not try_lock(descriptor):
            return False
        path.unlink(missing_ok=True)
        path.with_suffix(".json").unlink(missing_ok=True)
        fcntl.flock(descriptor, fcntl.LOCK_UN)
        return True
    finally:
        os.close(descriptor)


def _remove_orphans(folder: Path, *, but: Path) -> None:
    """Remove downloads whose process has ended: their entry's lock is free."""
    for part in folder.glob("*.part"):
        if part == but:
            continue  # our own lock
        lock = os.open(part.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if try_lock(lock):
                part.unlink(missing_ok=True)
                fcntl.flock(lock, fcntl.LOCK_UN)
        finally:
            os.close(lock)
