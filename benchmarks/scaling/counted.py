"""A Store that counts what is read through it."""

from __future__ import annotations

import threading
from pathlib import Path

from fmrgb_stream.storage import Store


class CountedStore(Store):
    """Reads like any store, and knows how often and how much."""

    def __init__(self, root: Path) -> None:
        """Open a root with the counters at 0."""
        super().__init__(root)
        self._count_lock = threading.Lock()
        self.num_reads = 0
        self.num_bytes = 0
        """Of everything: manifest, sidecars and shards."""
        self.num_shard_bytes = 0
        """Of ranges of shards alone."""

    def read(self, path: str) -> bytes:
        """See `Store.read`."""
        content = super().read(path)
        self._add(len(content), 0)
        return content

    def read_range(self, path: str, *, start: int, length: int) -> bytes | memoryview:
        """See `Store.read_range`."""
        content = super().read_range(path, start=start, length=length)
        self._add(length, length)
        return content

    def _add(self, num_bytes: int, num_shard_bytes: int) -> None:
        with self._count_lock:
            self.num_reads += 1
            self.num_bytes += num_bytes
            self.num_shard_bytes += num_shard_bytes
