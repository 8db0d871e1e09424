"""What a store has fetched so far."""

from __future__ import annotations

import threading
from dataclasses import dataclass, fields, replace


@dataclass(frozen=True, slots=True, kw_only=True)
class StorageCounts:
    """Sums of one process, since its store was opened. Local roots count nothing."""

    num_requests: int = 0
    """Rounds of requests for parts of objects."""
    num_bytes: int = 0
    """Bytes of the parts that arrived whole."""
    num_retries: int = 0
    """Rounds that were repeated."""
    num_cache_hits: int = 0
    """Ranges that were read from the node's cache."""
    num_refetches: int = 0
    """Samples that were read again because of a checksum."""

    def __sub__(self, earlier: StorageCounts) -> StorageCounts:
        """What came to it since an earlier snapshot."""
        names = [field.name for field in fields(self)]
        return StorageCounts(**{n: getattr(self, n) - getattr(earlier, n) for n in names})


class StorageCounters:
    """Counts from any number of threads."""

    def __init__(self) -> None:
        """Start at zero."""
        self._counts = StorageCounts()
        self._lock = threading.Lock()

    def add(
        self, *, requests: int = 0, num_bytes: int = 0, retries: int = 0, hits: int = 0,
        refetches: int = 0,
    ) -> None:  # fmt: skip
        """Add to some of them."""
        with self._lock:
            counts = self._counts
            self._counts = replace(
                counts,
                num_requests=counts.num_requests + requests,
                num_bytes=counts.num_bytes + num_bytes,
                num_retries=counts.num_retries + retries,
                num_cache_hits=counts.num_cache_hits + hits,
                num_refetches=counts.num_refetches + refetches,
            )

    def snapshot(self) -> StorageCounts:
        """The counts now."""
        with self._lock:
            return self._counts
