"""URL + path -> bytes, over obstore.

A `Store` is one root (a folder or a bucket prefix) and hands out whole objects or byte ranges.
Local roots are plain paths or `file://` URLs.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote, urlparse

from fmrgb_stream.errors import AccessDenied, ConfigError, ShardNotFound, StorageError

if TYPE_CHECKING:
    from obstore.store import ObjectStore

_LOCAL_SCHEMES: Final = ("", "file")


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
        self._lock = threading.Lock()
        self._client: ObjectStore | None = None

    def read(self, path: str) -> bytes:
        """All bytes of one object.

        Raises:
            ShardNotFound, AccessDenied, StorageError: by cause, with the URL.
            ConfigError: opened before a fork, and used in the child.
        """
        import obstore
        from obstore.exceptions import BaseError

        client = self._open()
        try:
            return obstore.get(client, path).bytes().to_bytes()
        except (BaseError, OSError) as error:
            raise self._translate(error, path) from error

    def read_range(self, path: str, *, start: int, length: int) -> bytes:
        """`length` bytes of one object from byte `start`.

        Raises:
            ShardNotFound, AccessDenied, StorageError: by cause; StorageError also when the object
                ends before the range does, or the range is none.
        """
        import obstore
        from obstore.exceptions import BaseError

        if start < 0 or length < 1:
            raise StorageError(
                f"{length} bytes from byte {start} are no range; run fmrgb verify",
                url=self.url_of(path),
            )
        client = self._open()
        try:
            content = obstore.get_range(client, path, start=start, length=length).to_bytes()
        except (BaseError, OSError) as error:
            raise self._translate(error, path) from error
        if len(content) != length:
            raise StorageError(
                f"asked for {length} bytes from byte {start}, got {len(content)}",
                url=self.url_of(path),
            )
        return content

    def url_of(self, path: str) -> str:
        """The full URL of one object, for messages."""
        return f"{self.url.rstrip('/')}/{path}"

    def _open(self) -> ObjectStore:
        if os.getpid() != self._pid:
            # Not a StorageError: every sample would be called bad, one after the other.
            raise ConfigError(
                f"{self.url} was opened before a fork and would hang in the child; build the "
                "loader in the child, or start processes with 'spawn'"
            )
        if self._client is None:
            with self._lock:
                if self._client is None:
                    self._client = self._connect()
        return self._client

    def _connect(self) -> ObjectStore:
        from obstore.store import LocalStore

        if not self._folder.is_dir():
            raise ShardNotFound("no such folder", url=self.url)
        return LocalStore(self._folder)

    def _translate(self, error: Exception, path: str) -> StorageError:
        url = self.url_of(path)
        if isinstance(error, FileNotFoundError):
            return ShardNotFound("no such file", url=url)
        if isinstance(error, PermissionError) or type(error).__name__ == "PermissionDeniedError":
            return AccessDenied("not readable with these permissions", url=url)
        return StorageError(str(error).split("\n\nDebug source", 1)[0], url=url)


def _local_folder(url: str) -> Path:
    parsed = urlparse(url)
    return Path(unquote(parsed.path)) if parsed.scheme == "file" else Path(url).expanduser()
