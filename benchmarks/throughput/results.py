"""What the tournament finds out, and how it is written down: dataclasses <-> JSON."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from benchmarks.bars import Bar
from benchmarks.throughput.contract import Corpus, Planes

Role = Literal["ours", "peer", "limit", "floor"]
Form = Literal["packed", "sources"]
"""`packed`: all read what `fmrgb pack` wrote. `sources`: the peers read the original files."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """One measurement of one contestant, in a process of its own."""

    clips_per_second: float
    cpu_ms_per_clip: float
    """Of the whole process tree."""
    peak_pss_mib: float
    """Of the whole process tree, largest of the looks after the window."""
    import_seconds: float
    """Importing the contestant's libraries."""
    first_batch_seconds: float
    """From asking for batches to the first one."""
    num_clips: int
    window_seconds: float
    num_processes: int
    num_threads: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """How one epoch of a contestant's clips differs from the reference, in grey levels."""

    num_clips: int
    rgb: float
    """Mean absolute difference over all clips."""
    rgb_worst: float
    """Of the clip that differs most."""
    rgb_by_offset: Sequence[float]
    """[3]: with the reference one frame early, in time, and one frame late."""
    flow: float | None
    flow_correlation: float | None
    mel: float | None
    problem: str
    """Why the clips are not accepted; empty when they are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A contestant in one variant."""

    label: str
    """Its short name, which `--only` takes."""
    name: str
    role: Role
    reads: str = ""
    num_workers: int = 0
    """0 when it did not come to that."""
    workers_tried: tuple[tuple[int, float], ...] = ()
    """(num_workers, clips a second) of the pre-round."""
    content: Content | None = None
    rounds: tuple[Round | None, ...] = ()
    """None where a round failed."""
    failure: str = ""
    """Why there are no figures, or not all."""

    def median(self, value: Callable[[Round], float]) -> float | None:
        """Of all rounds that succeeded."""
        values = [value(each) for each in self.rounds if each is not None]
        return statistics.median(values) if values else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """All contestants on one corpus in one form."""

    corpus: Corpus
    form: Form
    planes: Planes
    num_samples: int
    entries: tuple[Entry, ...]

    @property
    def title(self) -> str:
        """Its name in tables."""
        return f"{self.planes}, {self.form}, {self.corpus}"

    def ratio(self, entry: Entry, other: Entry) -> float | None:
        """Median over the rounds of how many times as fast as the other in the same round."""
        pairs = zip(entry.rounds, other.rounds, strict=False)
        ratios = [a.clips_per_second / b.clips_per_second for a, b in pairs if a and b]
        return statistics.median(ratios) if ratios else None

    def find(self, label: str) -> Entry | None:
        """The contestant with this label, if it took part."""
        return next((entry for entry in self.entries if entry.label == label), None)

    def timed_peers(self) -> list[Entry]:
        """The fastest first, by median clips a second."""
        timed = [entry for entry in self.entries if entry.role == "peer" and any(entry.rounds)]
        return sorted(timed, key=speed, reverse=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """One run of the benchmark."""

    environment: dict[str, str]
    """Name -> value: processor, cores, versions, date."""
    variants: tuple[Variant, ...]
    bars: tuple[Bar, ...]


def memory(entry: Entry) -> float:
    """Median peak PSS in MiB; 0 without a measurement."""
    return entry.median(lambda each: each.peak_pss_mib) or 0.0


def speed(entry: Entry) -> float:
    """Median clips a second; 0 without a measurement."""
    return entry.median(lambda each: each.clips_per_second) or 0.0
