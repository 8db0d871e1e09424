"""What reading has cost so far: one record that adds up over threads, processes and ranks."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadCounts:
    """What was asked of a dataset's storage. Sums and differences are counts again."""

    num_bytes: int = 0
    """Bytes that came from storage; what a cache on this machine gave is not among them."""
    num_requests: int = 0
    """Reads of a whole object or of one range, each attempt counted once."""
    num_retries: int = 0
    """Attempts after the first."""
    num_cache_hits: int = 0
    """Reads that a cache on this machine answered."""

    def __add__(self, other: ReadCounts) -> ReadCounts:
        """Both together."""
        return ReadCounts(
            num_bytes=self.num_bytes + other.num_bytes,
            num_requests=self.num_requests + other.num_requests,
            num_retries=self.num_retries + other.num_retries,
            num_cache_hits=self.num_cache_hits + other.num_cache_hits,
        )

    def __sub__(self, other: ReadCounts) -> ReadCounts:
        """What came since."""
        return ReadCounts(
            num_bytes=self.num_bytes - other.num_bytes,
            num_requests=self.num_requests - other.num_requests,
            num_retries=self.num_retries - other.num_retries,
            num_cache_hits=self.num_cache_hits - other.num_cache_hits,
        )


NOTHING_READ: Final = ReadCounts()


class ReadMeter:
    """Counts the reads of one store. Safe to use from many threads."""

    def __init__(self) -> None:
        """Start at nothing."""
        self._counts = NOTHING_READ
        self._lock = threading.Lock()

    def add(self, counts: ReadCounts) -> None:
        """Count what was just read."""
        with self._lock:
            self._counts += counts

    def read(self, num_bytes: int) -> None:
        """Count one request that was answered at once."""
        self.add(ReadCounts(num_bytes=num_bytes, num_requests=1))

    def counts(self) -> ReadCounts:
        """All so far."""
        return self._counts
