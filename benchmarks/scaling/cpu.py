"""CPU time of a process and of all that it started and saw the end of."""

from __future__ import annotations

import resource


def cpu_seconds() -> float:
    """User and system seconds so far; workers count once they have ended."""
    parts = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(part.ru_utime + part.ru_stime for part in parts)
