"""Clips that DALI could not make the right way -> one line in the log, and one with how many."""

from __future__ import annotations

import logging
import threading
from collections import Counter

from fmrgb_stream.sample import EncodedSample

logger = logging.getLogger(__name__)


class HostLog:
    """Which clips were decoded on the host although nobody asked for it. Safe from many threads."""

    def __init__(self) -> None:
        """Nothing was noted yet."""
        self._lock = threading.Lock()
        self._num_of: Counter[str] = Counter()
        self._known: set[str] = set()

    def note(self, sample: EncodedSample, reason: str) -> None:
        """Count a clip; the first one of each reason is told at once."""
        with self._lock:
            self._num_of[reason] += 1
            is_new = reason not in self._known
            self._known.add(reason)
        if is_new:
            logger.warning(
                "%r of %s is decoded on the host, not by DALI: %s. Others like it are counted and "
                "told at the end of the epoch",
                sample.info.key,
                sample.shard_url,
                reason,
            )

    def tell(self, num_clips: int) -> None:
        """Say how many of an epoch's clips it were; counting starts anew."""
        with self._lock:
            counted, self._num_of = self._num_of, Counter[str]()
        if counted:
            logger.warning(
                "%d of %d clips were decoded on the host, not by DALI: %s",
                counted.total(),
                num_clips,
                "; ".join(f"{number} because {reason}" for reason, number in counted.items()),
            )
