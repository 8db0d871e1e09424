"""Looks at a process and its workers, taken while they work -> does it grow? By how much, and is that too much?"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Final

import numpy as np

from benchmarks.bars import Bar

WARM_UP_FRACTION: Final = 0.3
"""Caches, arenas and lazily loaded libraries fill up first; growth is fitted to the rest."""
MAX_MEMORY_GROWTH_MB: Final = 4.0
MAX_MEMORY_GROWTH_FRACTION: Final = 0.02
"""Of the memory in use: an allocator moves about this much between equal states."""
MAX_COUNT_GROWTH: Final = 0.5
"""Of a thing that is counted; one more at the end of a run is a step and no slope, two are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessLook:
    """What this process and all that it started hold at one moment."""

    rss_mb: float
    pss_mb: float
    """Pages shared with other processes count by their share."""
    num_processes: int
    num_threads: int
    """All, also those that libraries start."""
    num_files: int
    """Open file descriptors."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Growth:
    """A line fitted to one quantity after the warm-up."""

    name: str
    level: float
    """Median."""
    slope_per_1000: float
    """Of 1000 batches."""
    total: float
    """Along the line, from the end of the warm-up to the end of the run."""
    limit: float

    def bar(self) -> Bar:
        """The growth as a figure with a limit."""
        return Bar(name=f"growth of {self.name}", value=self.total, limit=self.limit)


def look() -> ProcessLook:
    """Look at this process and those it started (Linux: reads /proc)."""
    looks = [taken for process in _family(os.getpid()) if (taken := _look_at(process))]
    return ProcessLook(
        **{f.name: sum(getattr(taken, f.name) for taken in looks) for f in fields(ProcessLook)}
    )


def _look_at(process: int) -> ProcessLook | None:
    """One process alone; None when it has just ended."""
    folder, sizes = Path(f"/proc/{process}"), dict[str, float]()
    try:
        lines = (folder / "smaps_rollup").read_text(encoding="ascii").splitlines()[1:]
        for line in lines:
            name, _, rest = line.partition(":")
            sizes[name] = int(rest.split()[0]) / 1024
        return ProcessLook(
            rss_mb=sizes["Rss"],
            pss_mb=sizes["Pss"],
            num_processes=1,
            num_threads=_num_entries(folder / "task"),
            # Listing one's own folder opens it.
            num_files=_num_entries(folder / "fd") - (process == os.getpid()),
        )
    except (FileNotFoundError, ProcessLookupError):
        return None


def _family(root: int) -> list[int]:
    """A process and all its descendants, from the parent's number in every /proc/N/stat."""
    children = defaultdict[int, list[int]](list)
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            # The name before it is in brackets and may hold anything.
            after_name = stat.read_text(encoding="utf-8", errors="replace").rpartition(")")[2]
        except (FileNotFoundError, ProcessLookupError):
            continue
        children[int(after_name.split()[1])].append(int(stat.parent.name))
    family = [root]
    for process in family:
        family += children[process]
    return family


def growths(batches: Sequence[int], looks: Sequence[ProcessLook]) -> list[Growth]:
    """Fit every quantity of looks taken after these numbers of batches.

    The slope is the median of those between all pairs of looks (Theil 1950, Sen 1968), which a
    few steps and spikes do not move.
    """
    first = int(len(looks) * WARM_UP_FRACTION)
    at = np.asarray(batches[first:], dtype=np.float64)
    found: list[Growth] = []
    for field in fields(ProcessLook):
        values = np.asarray([getattr(taken, field.name) for taken in looks[first:]], np.float64)
        slope = median_slope(at, values)
        level = float(np.median(values))
        limit = MAX_COUNT_GROWTH
        if field.name.endswith("_mb"):
            limit = max(MAX_MEMORY_GROWTH_MB, MAX_MEMORY_GROWTH_FRACTION * level)
        found.append(
            Growth(
                name=field.name,
                level=level,
                slope_per_1000=slope * 1000,
                total=slope * float(at[-1] - at[0]),
                limit=limit,
            )
        )
    return found


def median_slope(at: np.ndarray, values: np.ndarray) -> float:
    """Median slope between all pairs of points, float64 [N] each; `at` increases."""
    if len(at) < 3:
        raise ValueError(f"{len(at)} looks are too few to fit a line to; take 3 or more")
    left, right = np.triu_indices(len(at), k=1)
    return float(np.median((values[right] - values[left]) / (at[right] - at[left])))


def _num_entries(folder: Path) -> int:
    return sum(1 for _ in folder.iterdir())
