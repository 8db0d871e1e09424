"""Objects of remote roots on a node's own disk: one download a node, however many processes.

Files of an entry, named after URL, version and size of the object:
    NAME.lock   flock while one process downloads; never removed, so that all lock the same file
    NAME.part   the download; it has its full size from the start, so a full disk is known at once
    NAME.data   the object; whoever reads it holds a shared flock on it
    NAME.json   where it came from, for people
The kernel drops a flock when its holder ends in whatever way: no killed process blocks another. Time
of last use is the data file's own.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import os
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from fmrgb_stream.storage.eviction import Limits, reserve, try_lock
from fmrgb_stream.storage.local import OpenFile
from fmrgb_stream.storage.stopping import pause

logger = logging.getLogger(__name__)
_POLL_SECONDS: Final = 0.02
_TOUCH_SECONDS: Final = 60.0
IDLE_SECONDS: Final = 600.0
"""Entries used within this time are not evicted for another one. A shuffled epoch comes back to
every shard again and again: a cache smaller than the dataset would else be downloaded many times."""
WAIT_SECONDS: Final = 600.0
"""So long a process waits for another one's download before it goes on without the cache."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheEntry:
    """One version of one object."""

    url: str
    """Without secrets."""
    version: str
    """ETag, or time of writing."""
    size: int

    @property
    def name(self) -> str:
        """Of its files."""
        words = f"{self.url}\0{self.version}\0{self.size}"
        return hashlib.sha256(words.encode()).hexdigest()[:40]


class CachedFile(OpenFile):
    """An entry's data, held open and, by a shared lock, from being evicted."""

    def __init__(self, path: Path) -> None:
        """Open and lock it.

        Raises:
            OSError: it is not there.
            BlockingIOError: it is being evicted.
        """
        super().__init__(path)
        self._touched = time.monotonic()
        fcntl.flock(self.descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        os.utime(self.descriptor)

    def read(self, start: int, length: int) -> bytes:
        """Up to `length` bytes; notes now and then that the entry is in use."""
        now = time.monotonic()
        if now - self._touched > _TOUCH_SECONDS:
            self._touched = now
            os.utime(self.descriptor)
        return super().read(start, length)


class NodeCache:
    """A folder that all processes of a node share. Safe to use from many threads."""

    def __init__(
        self,
        folder: Path,
        *,
        max_bytes: int,
        idle_seconds: float = IDLE_SECONDS,
        wait_seconds: float = WAIT_SECONDS,
    ) -> None:
        """Take a folder that is there, on a disk of this machine."""
        self.folder = folder
        self._limits = Limits(folder=folder, max_bytes=max_bytes, idle_seconds=idle_seconds)
        self._wait_seconds = wait_seconds
        self._has_warned = False

    def open(self, entry: CacheEntry, download: Callable[[int], None]) -> CachedFile | None:
        """The entry's data; None where it must be read without the cache.

        Args:
            entry: what is wanted.
            download: writes the object to a file descriptor, or raises; called at most once, and
                by one process of the node at a time.

        Raises:
            LoaderClosed: the run that the thread works for was closed.
            Exception: what `download` raises; nothing of the entry is kept then.
        """
        file = self._ready(entry)
        if file is not None:
            return file
        try:
            with self._leading(entry) as (leads, file):
                if file is not None or leads:
                    return file or self._brought(entry, download)
                self._warn(f"waited {self._wait_seconds:.0f} s for another process's download")
                return None
        except OSError as error:
            # Of the disk, which is full, fails or was tidied up: a download's errors are our own.
            self._warn(f"cannot keep more: {error.strerror}")
            return None

    def drop(self, entry: CacheEntry) -> None:
        """Take an entry away; who has it open can read on."""
        for path in (self._path(entry, "data"), self._path(entry, "json")):
            path.unlink(missing_ok=True)

    def _path(self, entry: CacheEntry, suffix: str) -> Path:
        return self.folder / f"{entry.name}.{suffix}"

    def _ready(self, entry: CacheEntry) -> CachedFile | None:
        try:
            file = CachedFile(self._path(entry, "data"))
        except OSError:
            return None
        found = os.fstat(file.descriptor)
        # Evicted between opening and locking; or, after a power cut, not all there.
        return file if found.st_nlink and found.st_size == entry.size else None

    @contextmanager
    def _leading(self, entry: CacheEntry) -> Generator[tuple[bool, CachedFile | None]]:
        """Whether this process is the one to download, and what another one brought meanwhile."""
        end = time.monotonic() + self._wait_seconds
        lock = os.open(self._path(entry, "lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            leads, file = try_lock(lock), self._ready(entry)
            while not leads and file is None and time.monotonic() < end:
                pause(_POLL_SECONDS)
                leads, file = try_lock(lock), self._ready(entry)
            yield leads, file
        finally:
            # Else a process forked meanwhile, which has the lock open too, would hold it on.
            fcntl.flock(lock, fcntl.LOCK_UN)
            os.close(lock)

    def _brought(self, entry: CacheEntry, download: Callable[[int], None]) -> CachedFile | None:
        part = self._path(entry, "part")
        try:
            descriptor = reserve(part, entry.size, self._limits)
            if descriptor is None:
                self._warn("has no room for more")
                return None
            try:
                download(descriptor)
                os.fsync(descriptor)
                note = json.dumps(asdict(entry) | {"name": entry.name})
                self._path(entry, "json").write_text(note)
                part.replace(self._path(entry, "data"))
                self._sync_folder()
            finally:
                os.close(descriptor)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
        return self._ready(entry)

    def _sync_folder(self) -> None:
        folder = os.open(self.folder, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def _warn(self, words: str) -> None:
        if not self._has_warned:
            self._has_warned = True
            logger.warning(
                "the cache in %s %s; the rest is read without it. Give it more room "
                "(cache_bytes), or a larger disk",
                self.folder,
                words,
            )
