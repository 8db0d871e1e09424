"""URL + path -> bytes: whole objects, and ranges. One `Store` for folders and buckets alike.

A `Store` is one root: a plain path, `file://`, `s3://`, `gs://`, `az://`, `http://` or `https://`.
It can be sent to another process, which gets a store of the same root that has nothing open.
"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any, Protocol

from fmrgb_stream.errors import ConfigError, ShardUnreadable
from fmrgb_stream.storage.counts import ReadCounts, ReadMeter
from fmrgb_stream.storage.local import LocalObjects
from fmrgb_stream.storage.places import CacheSettings
from fmrgb_stream.storage.retry import RetryPolicy
from fmrgb_stream.storage.urls import Location, parse_location

if TYPE_CHECKING:
    from fmrgb_stream.storage.remote import RemoteObjects


class _Objects(Protocol):
    def read(self, path: str) -> bytes: ...

    def read_range(self, path: str, *, start: int, length: int) -> bytes | memoryview: ...

    def size(self, path: str) -> int: ...

    def forget(self, path: str) -> None: ...


class Store:
    """One dataset root to read from. Safe to share between threads, not across a fork."""

    def __init__(
        self,
        root: str | os.PathLike[str] | Location,
        *,
        cache: CacheSettings | None = None,
        policy: RetryPolicy | None = None,
    ) -> None:
        """Open a root; nothing is read yet, and nothing loaded that only buckets need.

        Args:
            root: folder or URL.
            cache: where to keep what a remote root sends; None keeps only sidecars, in the node's
                folder for temporary files. Local roots need none.
            policy: how often a remote root is asked, and for how long.

        Raises:
            ConfigError: the URL cannot be one of ours, or the cache cannot work.
        """
        self._location = root if isinstance(root, Location) else parse_location(root)
        self._cache, self._policy = cache, policy or RetryPolicy()
        self.url = self._location.shown
        """The root for messages: without options and secrets."""
        self._pid = os.getpid()
        self._meter = ReadMeter()
        self._remote: RemoteObjects | None = None
        self._objects: _Objects
        if self._location.is_local:
            self._objects = LocalObjects(self._location.folder, shown=self.url, meter=self._meter)
        else:
            # What only buckets need, decode processes of a local dataset do without.
            from fmrgb_stream.storage.cached import CachedObjects
            from fmrgb_stream.storage.remote import RemoteObjects

            self._remote = RemoteObjects(self._location, policy=self._policy, meter=self._meter)
            self._objects = CachedObjects(self._remote, cache or CacheSettings())

    def __reduce__(self) -> tuple[Any, ...]:
        """Another process gets a store of the same root that has nothing open."""
        return _reopened, (self._location, self._cache, self._policy)

    @property
    def location(self) -> Location:
        """What the root was taken apart into."""
        return self._location

    @property
    def is_local(self) -> bool:
        """Whether the root is a folder of this machine."""
        return self._location.is_local

    def read(self, path: str) -> bytes:
        """All bytes of one object, from the store itself.

        Raises:
            StorageError: by cause (see `errors`), with the URL.
            ConfigError: opened before a fork, and used in the child.
        """
        self._check_process()
        return self._objects.read(path)

    def read_range(self, path: str, *, start: int, length: int) -> bytes | memoryview:
        """`length` bytes of one object from byte `start`; from the node's cache where it has them.

        Raises:
            StorageError: by cause; ShardUnreadable when the object ends before the range does, or
                the range is none.
            ConfigError: opened before a fork, and used in the child.
        """
        if start < 0 or length < 1:
            raise ShardUnreadable(
                f"{length} bytes from byte {start} are no range; run fmrgb verify",
                url=self.url_of(path),
            )
        self._check_process()
        content = self._objects.read_range(path, start=start, length=length)
        if len(content) != length:
            raise ShardUnreadable(
                f"asked for {length} bytes from byte {start}, got {len(content)}",
                url=self.url_of(path),
            )
        return content

    def size(self, path: str) -> int:
        """Bytes of one object.

        Raises:
            StorageError, ConfigError: as for `read`.
        """
        self._check_process()
        return self._objects.size(path)

    def expect(self, path: str, *, num_bytes: int | None, sha256: str) -> None:
        """Note what the manifest says of an object; a remote one is then held against it."""
        if self._remote is not None:
            self._remote.expect(path, num_bytes=num_bytes, sha256=sha256)

    def read_anew(self, path: str, *, start: int, length: int) -> bytes | memoryview:
        """The range once more, from the store itself, after what came first proved damaged.

        A cached copy is dropped.
        """
        self._objects.forget(path)
        return self.read_range(path, start=start, length=length)

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


def _reopened(location: Location, cache: CacheSettings | None, policy: RetryPolicy) -> Store:
    if not location.is_local:
        # Loaded once in the process that workers are forked from; it connects in each of them.
        importlib.import_module("obstore")
    return Store(location, cache=cache, policy=policy)
