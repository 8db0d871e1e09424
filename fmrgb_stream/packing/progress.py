"""What a long run tells: bars in a terminal, plain lines elsewhere, nothing for machines."""

from __future__ import annotations

import sys
import time
from typing import Final, Protocol

_LINE_EVERY_SECONDS: Final = 10.0


class Progress(Protocol):
    """Where pack and verify report what they have done. Called from one thread."""

    def start(self, stage: str, *, total: int, kept: int = 0) -> None:
        """A stage begins; `total` pieces of work, `kept` of them done by an earlier run."""
        ...

    def advance(self, stage: str, count: int = 1) -> None:
        """More pieces of the stage are done."""
        ...

    def close(self) -> None:
        """Nothing more will come. Safe to call twice."""
        ...


class SilentProgress:
    """Says nothing."""

    def start(self, stage: str, *, total: int, kept: int = 0) -> None:
        """Nothing."""

    def advance(self, stage: str, count: int = 1) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


class LineProgress:
    """One line on stderr every ten seconds, and one at the end of each stage."""

    def __init__(self, unit: str = "clips") -> None:
        """Nothing is printed yet; `unit` names the pieces of work."""
        self._unit = unit
        self._total: dict[str, int] = {}
        self._done: dict[str, int] = {}
        self._kept: dict[str, int] = {}
        self._started: dict[str, float] = {}
        self._printed = 0.0

    def start(self, stage: str, *, total: int, kept: int = 0) -> None:
        """Note the stage's size and the time."""
        self._total[stage], self._done[stage], self._kept[stage] = total, kept, kept
        self._started[stage] = self._printed = time.monotonic()
        if kept:
            sys.stderr.write(f"{stage}: {kept}/{total} kept from an earlier run\n")

    def advance(self, stage: str, count: int = 1) -> None:
        """Count, and print now and then."""
        self._done[stage] += count
        now = time.monotonic()
        finished = self._done[stage] == self._total[stage]
        if finished or now - self._printed > _LINE_EVERY_SECONDS:
            self._printed = now
            done, total = self._done[stage], self._total[stage]
            # What an earlier run did took this one no time.
            rate = (done - self._kept[stage]) / max(now - self._started[stage], 1e-9)
            rest = "" if finished else f", {(total - done) / rate:.0f} s to go"
            sys.stderr.write(f"{stage}: {done}/{total}, {rate:.1f} {self._unit}/s{rest}\n")

    def close(self) -> None:
        """Nothing to tidy."""


class BarProgress:
    """One bar a stage, with the speed and the time that is left."""

    def __init__(self, unit: str = "clips") -> None:
        """Draw nothing yet; `unit` names the pieces of work."""
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as RichProgress

        self._bars = RichProgress(
            TextColumn("{task.description:>8}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
        )
        self._unit = unit
        self._tasks = {}
        self._started: dict[str, float] = {}
        self._done: dict[str, int] = {}
        self._kept: dict[str, int] = {}
        self._bars.start()

    def start(self, stage: str, *, total: int, kept: int = 0) -> None:
        """Add a bar."""
        self._tasks[stage] = self._bars.add_task(stage, total=total, completed=kept, rate="")
        self._started[stage] = time.monotonic()
        self._done[stage] = self._kept[stage] = kept

    def advance(self, stage: str, count: int = 1) -> None:
        """Move the bar."""
        self._done[stage] += count
        fresh = self._done[stage] - self._kept[stage]
        rate = fresh / max(time.monotonic() - self._started[stage], 1e-9)
        self._bars.update(self._tasks[stage], advance=count, rate=f"{rate:.1f} {self._unit}/s")

    def close(self) -> None:
        """Leave the bars as they stand."""
        self._bars.stop()


def make_progress(*, silent: bool = False, unit: str = "clips") -> Progress:
    """Bars when stderr is a terminal, else lines; nothing when silent."""
    if silent:
        return SilentProgress()
    return BarProgress(unit) if sys.stderr.isatty() else LineProgress(unit)
