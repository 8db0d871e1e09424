"""Remote root + node's cache -> bytes: from the disk where they are, else from the server.

Sidecars always go through a cache: every process of a node needs nearly all of them, and together
they would fetch them many times. Shards do when a folder was named for them.
"""

from __future__ import annotations

import hashlib
import logging
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator
from functools import partial
from typing import Final

from fmrgb_stream.errors import RangesUnsupported, ShardCorrupt
from fmrgb_stream.storage.cache import CachedFile, CacheEntry, NodeCache
from fmrgb_stream.storage.counts import ReadCounts
from fmrgb_stream.storage.places import (
    SIDECAR_CACHE_BYTES,
    CacheSettings,
    prepared_folder,
    sidecar_folder,
)
from fmrgb_stream.storage.remote import Pin, RemoteObjects

logger = logging.getLogger(__name__)
_SIDECAR: Final = ".parquet"
_OPEN_FILES: Final = 64
_UNCACHED_SECONDS: Final = 60.0
"""After this time an object that the cache had no room for is tried again."""


class CachedObjects:
    """One remote root, read through the node's cache. Safe to share between threads."""

    def __init__(self, remote: RemoteObjects, settings: CacheSettings) -> None:
        """Prepare the cache's folder.

        Raises:
            ConfigError: the folder cannot be a cache.
        """
        self._remote = remote
        self._shards: NodeCache | None = None
        self._sidecars: NodeCache | None = None
        if settings.folder is not None:
            folder = prepared_folder(settings.folder)
            self._shards = self._sidecars = NodeCache(folder, max_bytes=settings.max_bytes)
        elif (private := sidecar_folder()) is not None:
            self._sidecars = NodeCache(private, max_bytes=SIDECAR_CACHE_BYTES)
        self._lock = threading.Lock()
        self._files: OrderedDict[str, CachedFile] = OrderedDict()
        self._uncached_until: dict[str, float] = {}

    def read(self, path: str) -> bytes:
        """All bytes of one object, from the server."""
        return self._remote.read(path)

    def size(self, path: str) -> int:
        """Bytes of one object."""
        file = self._file(path)
        return self._remote.size(path) if file is None else file.size

    def read_range(self, path: str, *, start: int, length: int) -> bytes | memoryview:
        """Bytes from `start` on; fewer than `length` at the end of the object."""
        file = self._file(path)
        if file is None:
            return self._remote.read_range(path, start=start, length=length)
        self._remote.meter.add(ReadCounts(num_cache_hits=1))
        return file.read(start, length)

    def forget(self, path: str) -> None:
        """Drop the cached copy, and read past the cache for a while."""
        cache = self._cache_of(path)
        with self._lock:
            self._files.pop(path, None)
            self._uncached_until[path] = time.monotonic() + _UNCACHED_SECONDS
        if cache is not None:
            cache.drop(self._entry(path, self._remote.pin(path)))

    def _cache_of(self, path: str) -> NodeCache | None:
        return self._sidecars if path.endswith(_SIDECAR) else self._shards

    def _file(self, path: str) -> CachedFile | None:
        cache = self._cache_of(path)
        if cache is None:
            return None
        with self._lock:
            file = self._files.get(path)
            if file is not None:
                self._files.move_to_end(path)
                return file
            if time.monotonic() < self._uncached_until.get(path, 0.0):
                return None
        pin = self._remote.pin(path)
        try:
            file = cache.open(self._entry(path, pin), partial(self._download, path, pin))
        except ShardCorrupt as error:
            if path.endswith(_SIDECAR):
                raise
            # Its members have checksums of their own, which tell the good ones from the bad.
            logger.warning("%s; it is read without the cache", error)
            file = None
        return self._kept(path, file)

    def _kept(self, path: str, file: CachedFile | None) -> CachedFile | None:
        with self._lock:
            if file is None:
                self._uncached_until[path] = time.monotonic() + _UNCACHED_SECONDS
                return None
            self._uncached_until.pop(path, None)
            self._files[path] = file
            if len(self._files) > _OPEN_FILES:
                # A thread that is reading from it holds it open until it is done.
                self._files.popitem(last=False)
        return file

    def _entry(self, path: str, pin: Pin) -> CacheEntry:
        url = f"{self._remote.location.identity} {path}"
        return CacheEntry(url=url, version=pin.etag or pin.modified, size=pin.size)

    def _download(self, path: str, pin: Pin, descriptor: int) -> None:
        """Write the object and check it against the manifest; once more where it differs.

        Raises:
            ShardCorrupt: it differed twice.
        """
        expected = self._remote.expected.get(path)
        for _ in range(2):
            digest, place = hashlib.sha256(), 0
            for part in self._parts(path, pin.size):
                digest.update(part)
                while len(part):
                    written = os.pwrite(descriptor, part, place)
                    part, place = part[written:], place + written
            if place != pin.size:
                continue
            if expected is None or expected.sha256 in ("", digest.hexdigest()):
                return
        url = self._remote.url_of(path)
        raise ShardCorrupt(
            f"{url} differs from the checksum in the manifest, also when read again; run fmrgb "
            "verify, and restore or pack it again",
            url=url,
            attempts=2,
        )

    def _parts(self, path: str, size: int) -> Iterator[memoryview]:
        try:
            yield from self._remote.parts(path, 0, size)
        except RangesUnsupported:
            # Only the first part can have been asked for.
            yield memoryview(self._remote.read(path))
