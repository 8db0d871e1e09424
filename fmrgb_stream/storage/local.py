"""Folder + path -> bytes of local files: whole ones, and ranges by pread.

Ranges are read for every clip: one system call on a file that stays open costs a tenth of a way
through an object store's client, and the client takes 4 MB in every process that loads it.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from pathlib import Path
from typing import Final

from fmrgb_stream.errors import AccessDenied, ShardNotFound, ShardUnreadable, StorageError
from fmrgb_stream.storage.counts import ReadMeter

_OPEN_FILES: Final = 64
"""Kept open by one store, so that a dataset of many shards does not use up a process's files."""


class LocalObjects:
    """One folder. Safe to share between threads, not across a fork."""

    def __init__(self, folder: Path, *, shown: str, meter: ReadMeter) -> None:
        """Take the folder and its name for messages; nothing is read yet."""
        self._meter = meter
        self._folder = folder
        self._shown = shown.rstrip("/")
        self._lock = threading.Lock()
        self._files: OrderedDict[str, OpenFile] = OrderedDict()

    def read(self, path: str) -> bytes:
        """All bytes of one file."""
        try:
            content = (self._folder / path).read_bytes()
        except OSError as error:
            raise self._translate(error, path) from error
        self._meter.read(len(content))
        return content

    def read_range(self, path: str, *, start: int, length: int) -> bytes:
        """Bytes from `start` on; fewer than `length` at the end of the file."""
        try:
            content = self._file(path).read(start, length)
        except OSError as error:
            raise self._translate(error, path) from error
        self._meter.read(len(content))
        return content

    def size(self, path: str) -> int:
        """Bytes of one file."""
        try:
            return self._file(path).size
        except OSError as error:
            raise self._translate(error, path) from error

    def forget(self, path: str) -> None:
        """Open the file anew with the next read."""
        with self._lock:
            self._files.pop(path, None)

    def _file(self, path: str) -> OpenFile:
        with self._lock:
            file = self._files.get(path)
            if file is None:
                file = self._files[path] = OpenFile(self._folder / path)
                if len(self._files) > _OPEN_FILES:
                    # A thread that is reading from it holds it open until it is done.
                    self._files.popitem(last=False)
            else:
                self._files.move_to_end(path)
            return file

    def _translate(self, error: OSError, path: str) -> StorageError:
        url = f"{self._shown}/{path}"
        if isinstance(error, FileNotFoundError):
            is_there = self._folder.is_dir()
            return ShardNotFound("no such file" if is_there else "no such folder", url=url)
        if isinstance(error, PermissionError):
            return AccessDenied("not readable with these permissions", url=url)
        return ShardUnreadable(error.strerror or str(error), url=url)


class OpenFile:
    """A file that is open as long as someone holds this; any number of threads may read."""

    def __init__(self, path: Path) -> None:
        """Open it for reading."""
        self.descriptor = -1
        self.descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def read(self, start: int, length: int) -> bytes:
        """Up to `length` bytes; fewer at the end of the file."""
        content = os.pread(self.descriptor, length, start)
        while 0 < len(content) < length:  # one call gives 2 GiB at most
            more = os.pread(self.descriptor, length - len(content), start + len(content))
            if not more:
                break
            content += more
        return content

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return os.fstat(self.descriptor).st_size

    def __del__(self) -> None:
        """Close."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
