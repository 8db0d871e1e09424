"""Bad samples, counted and named once, until there are too many of them."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass
from typing import Final

from fmrgb_stream.config import BadSampleRule
from fmrgb_stream.errors import TooManyBadSamples

MIN_TOLERATED: Final = 8
"""Bad samples that never stop a run, however small the dataset."""
NUM_SHOWN: Final = 5
logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class BadSample:
    """One sample that could not be used."""

    shard: str
    key: str
    reason: str


class Quarantine:
    """The distinct bad samples since the loader was built. Safe to use from many threads.

    It never starts anew: a sample that is bad in every epoch counts once, and samples that go bad
    in different epochs add up.
    """

    def __init__(self, rule: BadSampleRule, *, max_bad_fraction: float, num_samples: int) -> None:
        """Start empty; `num_samples` is what the fraction is taken of."""
        self.rule: BadSampleRule = rule
        self._limit = max(MIN_TOLERATED, int(max_bad_fraction * num_samples))
        self._num_samples = num_samples
        self._bad: dict[tuple[str, str], BadSample] = {}
        self._shards: set[str] = set()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        """Distinct bad samples."""
        with self._lock:
            return len(self._bad)

    def samples(self) -> tuple[BadSample, ...]:
        """The bad samples, in the order they were met, with the first reason for each."""
        with self._lock:
            return tuple(self._bad.values())

    def add(self, bad: BadSample) -> None:
        """Note a bad sample; the first of each shard is logged. A sample counts once.

        Raises:
            TooManyBadSamples: more than max(8, max_bad_fraction * num_samples) are bad.
        """
        with self._lock:
            self._bad.setdefault((bad.shard, bad.key), bad)
            is_new_shard = bad.shard not in self._shards
            self._shards.add(bad.shard)
            all_bad = tuple(self._bad.values())
        if is_new_shard:
            logger.warning(
                "bad sample %r of %s: %s; more of this shard are counted without a word",
                bad.key,
                bad.shard,
                bad.reason,
            )
        if len(all_bad) > self._limit:
            raise TooManyBadSamples(self._message(all_bad))

    def _message(self, bad: tuple[BadSample, ...]) -> str:
        first = "; ".join(f"{b.key!r} of {b.shard}: {b.reason}" for b in bad[:NUM_SHOWN])
        return (
            f"{len(bad)} of {self._num_samples} samples are bad, {self._limit} are tolerated "
            f"(max_bad_fraction). The first: {first}. Run `fmrgb verify`, or raise "
            "max_bad_fraction"
        )
