"""Cache folder, limit -> room for one more entry, at the cost of those nobody has used for longest."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

_DISK_FULL: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_LOW_WATER: Final = 0.9
"""Eviction goes on until the rest fills this share of the limit, so that it is rare."""


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
        OSError: the disk is full, whatever may be evicted.
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
        try:
            return _allocated(part, size)
        except OSError as error:
            if error.errno not in _DISK_FULL:
                raise
        # The disk is smaller than the limit: whatever nobody has open may go.
        _make_room(replace(limits, idle_seconds=0.0), size, all_of_it=True)
        return _allocated(part, size)
    finally:
        os.close(lock)


def _allocated(part: Path, size: int) -> int:
    descriptor = os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.posix_fallocate(descriptor, 0, size)
    except OSError:
        os.close(descriptor)
        part.unlink(missing_ok=True)
        raise
    return descriptor


def _make_room(limits: Limits, needed: int, *, all_of_it: bool = False) -> bool:
    """Evict until `needed` bytes fit, or all that may go; whether they fit."""
    entries = _files(limits.folder, "data")
    used = sum(size for _, size, _ in [*entries, *_files(limits.folder, "part")])
    if used + needed <= limits.max_bytes and not all_of_it:
        return True
    target = 0 if all_of_it else max(0, int(_LOW_WATER * limits.max_bytes) - needed)
    oldest = time.time() - limits.idle_seconds
    for last_used, size, path in sorted(entries):
        if used <= target:
            break
        if last_used <= oldest and _evict(path):
            used -= size
    return used + needed <= limits.max_bytes


def _files(folder: Path, suffix: str) -> list[tuple[float, int, Path]]:
    """(time of last use, bytes, path) of the files with a suffix."""
    found: list[tuple[float, int, Path]] = []
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
        finally:
            os.close(lock)
