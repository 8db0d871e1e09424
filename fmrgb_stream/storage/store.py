"""URL + path -> bytes of local files: whole ones, and ranges by pread.

A `Store` is one root and hands out whole objects or byte ranges. Roots are plain paths or `file://`
URLs. Ranges are read for every clip: one system call on a file that stays open costs a tenth of a
way through an object store's client, and the client takes 4 MB in every process that loads it.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlparse

from fmrgb_stream.errors import AccessDenied, ConfigError, ShardNotFound, StorageError
from fmrgb_stream.storage.counts import ReadCounts, ReadMeter

_LOCAL_SCHEMES: Final = ("", "file")
_OPEN_FILES: Final = 64
"""Kept open by one store, so that a dataset of many shards does not use up a process's files."""


class Store:
    """One dataset root to read from. Safe to share between threads, not across a fork."""

    def __init__(self, root: str | os.PathLike[str]) -> None:
        """Open a root; nothing is read yet.

        Raises:
            ConfigError: the URL's scheme is not known.
        """
        self.url = str(root)
        scheme = urlparse(self.url).scheme
        if scheme not in _LOCAL_SCHEMES:
            raise ConfigError(
                f"{self.url!r}: scheme {scheme!r} cannot be read; use a local path or file:// URL"
            )
        self._folder = _local_folder(self.url)
        self._pid = os.getpid()
        self._meter = ReadMeter()
        self._lock = threading.Lock()
        self._files: OrderedDict[str, _OpenFile] = OrderedDict()

    def __reduce__(self) -> tuple[Any, ...]:
        """Another process gets a store of the same root that has nothing open."""
        return Store._reopened, (self.url, self._folder)

    @classmethod
    def _reopened(cls, url: str, folder: Path) -> Store:
        store = cls(url)
        store._folder = folder  # the other process may be in another folder
        return store

    def read(self, path: str) -> bytes:
        """All bytes of one object.

        Raises:
            ShardNotFound, AccessDenied, StorageError: by cause, with the URL.
            ConfigError: opened before a fork, and used in the child.
        """
        self._check_process()
        try:
            content = (self._folder / path).read_bytes()
        except OSError as error:
            raise self._translate(error, path) from error
        self._meter.read(len(content))
        return content

    def read_range(self, path: str, *, start: int, length: int) -> bytes:
        """`length` bytes of one object from byte `start`.

        Raises:
            ShardNotFound, AccessDenied, StorageError: by cause; StorageError also when the object
                ends before the range does, or the range is none.
        """
        if start < 0 or length < 1:
            raise StorageError(
                f"{length} bytes from byte {start} are no range; run fmrgb verify",
                url=self.url_of(path),
            )
        self._check_process()
        try:
            content = self._file(path).read(start, length)
        except OSError as error:
            raise self._translate(error, path) from error
        if len(content) != length:
            raise StorageError(
                f"asked for {length} bytes from byte {start}, got {len(content)}",
                url=self.url_of(path),
            )
        self._meter.read(length)
        return content

    def counts(self) -> ReadCounts:
        """What this store has read in this process."""
        return self._meter.counts()

    def url_of(self, path: str) -> str:
        """The full URL of one object, for messages."""
        return f"{self.url.rstrip('/')}/{path}"

    def _check_process(self) -> None:
        if os.getpid() != self._pid:
            # Not a StorageError: every sample would be called bad, one after the other.
            raise ConfigError(
                f"{self.url} was opened before a fork and would hang in the child; build the "
                "loader in the child, or start processes with 'spawn'"
            )

    def _file(self, path: str) -> _OpenFile:
        with self._lock:
            file = self._files.get(path)
            if file is None:
                file = self._files[path] = _OpenFile(self._folder / path)
                if len(self._files) > _OPEN_FILES:
                    # A thread that is reading from it holds it open until it is done.
                    self._files.popitem(last=False)
            else:
                self._files.move_to_end(path)
            return file

    def _translate(self, error: OSError, path: str) -> StorageError:
        url = self.url_of(path)
        if isinstance(error, FileNotFoundError):
            is_there = self._folder.is_dir()
            return ShardNotFound("no such file" if is_there else "no such folder", url=url)
        if isinstance(error, PermissionError):
            return AccessDenied("not readable with these permissions", url=url)
        return StorageError(error.strerror or str(error), url=url)


class _OpenFile:
    """A file that is open as long as someone holds this; any number of threads may read."""

    def __init__(self, path: Path) -> None:
        self._descriptor = -1
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def read(self, start: int, length: int) -> bytes:
        """Up to `length` bytes; fewer at the end of the file."""
        content = os.pread(self._descriptor, length, start)
        while 0 < len(content) < length:  # one call gives 2 GiB at most
            more = os.pread(self._descriptor, length - len(content), start + len(content))
            if not more:
                break
            content += more
        return content

    def __del__(self) -> None:
        """Close."""
        if self._descriptor >= 0:
            os.close(self._descriptor)


def _local_folder(url: str) -> Path:
    parsed = urlparse(url)
    folder = Path(unquote(parsed.path)) if parsed.scheme == "file" else Path(url).expanduser()
    # Absolute, so that it stays the same when the process goes to another folder.
    return folder.absolute()
