"""Cache folder, limit -> room for one more entry, at the cost of those nobody has used for longest."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from pathlib import Path
from typing import Final

_LOW_WATER: Final = 0.9
"""Eviction goes on until the rest fills this share of the limit, so that it is rare."""


def try_lock(descriptor: int) -> bool:
    """Take an exclusive flock; False where somebody holds one."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def make_room(
    *, folder: Path, max_bytes: int, needed: int, idle_seconds: float, is_forced: bool = False
) -> bool:
    """Evict until `needed` bytes fit; whether they do.

    Args:
        folder: of the cache.
        max_bytes: its limit; downloads that are running count with their full size.
        needed: bytes of the new entry.
        idle_seconds: entries used within this time stay.
        is_forced: evict all that may go, because the disk is fuller than the limit allows for.
    """
    if needed > max_bytes:
        return False
    lock = os.open(folder / "evict.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        _remove_orphans(folder)
        entries = _files(folder, "data")
        used = sum(size for _, size, _ in entries) + sum(s for _, s, _ in _files(folder, "part"))
        if used + needed <= max_bytes and not is_forced:
            return True
        target = 0 if is_forced else max(0, int(_LOW_WATER * max_bytes) - needed)
        oldest = time.time() - idle_seconds
        for last_used, size, path in sorted(entries):
            if used <= target:
                break
            if last_used <= oldest and _evict(path):
                used -= size
        return used + needed <= max_bytes
    finally:
        os.close(lock)


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


def _remove_orphans(folder: Path) -> None:
    """Remove downloads whose process has ended: their entry's lock is free."""
    for part in folder.glob("*.part"):
        lock = os.open(part.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if try_lock(lock):
                part.unlink(missing_ok=True)
        finally:
            os.close(lock)
