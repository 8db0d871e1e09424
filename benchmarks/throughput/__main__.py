"""How many clips a second, against the peers, the limit and the floor?

Run: python -m benchmarks.throughput [--planes fmrgb] [--data packed] [--only ours] [--quick]
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, cast

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks.throughput.child import Window
from benchmarks.throughput.contract import BenchClip, BenchData, Corpus, Planes
from benchmarks.throughput.corpus import CLIPS_FOLDER, CorpusSettings, make_corpus
from benchmarks.throughput.entrants import Entrant, all_entrants
from benchmarks.throughput.environment import environment, results_stem
from benchmarks.throughput.goals import goals
from benchmarks.throughput.harness import Memory, Plan, run_variant
from benchmarks.throughput.report import show, to_json, write
from benchmarks.throughput.results import Form, Report, Variant
from benchmarks.throughput.run_child import PROJECT

BUILD_FOLDER: Final = PROJECT / "build" / "bench"
RESULTS_FOLDER: Final = PROJECT / "benchmarks" / "results"
VARIANTS: Final[tuple[tuple[Corpus, Form, Planes], ...]] = (
    ("generated", "packed", "fmrgb"),
    ("generated", "sources", "fmrgb"),
    ("generated", "packed", "rgb+mel"),
    ("generated", "packed", "rgb"),
    ("clips", "sources", "fmrgb"),
    ("clips", "packed", "fmrgb"),
)
"""Peers take part with all planes; ours alone is asked what it costs without flow."""
QUICK: Final = Plan(
    rounds=2,
    window=Window(warmup_clips=16, min_clips=16, min_seconds=1.0, max_seconds=6.0),
    workers_to_try=(2,),
)
NUM_SAMPLES, QUICK_SAMPLES = 96, 16
_MISSED, _STOPPED = 1, 130
_FILE_WIDTH: Final = 150
"""Columns, where there is no terminal: wide enough for the tables."""


@dataclass(slots=True)
class BarProgress:
    """The harness's and the corpus maker's progress, as bars in a terminal."""

    bars: Progress

    def begin(self, stage: str, total: int) -> None:
        """A new bar; the ones before are full."""
        self.end()
        self.bars.add_task(stage, total=total, what="")

    def end(self) -> None:
        """All that was begun is done."""
        for task in self.bars.tasks:
            self.bars.update(task.id, completed=task.total, what="")

    def step(self, what: str) -> None:
        """Move the newest bar on."""
        task = self.bars.tasks[-1]
        started = bool(task.fields["what"])
        self.bars.update(task.id, advance=int(started), what=what)

    def tell(self, what: str, done: int, total: int) -> None:
        """Show how far a long step is."""
        if not self.bars.tasks:
            self.begin("corpus", 1)
        self.bars.update(self.bars.tasks[-1].id, what=f"{what}: {done} of {total}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what was asked for; 0, or 1 when a goal is missed, 2 for wrong flags, 130 on Ctrl-C."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    parser = _parser()
    asked = parser.parse_args(arguments)
    try:
        entrants = all_entrants(cast("list[str]", asked.only))
    except ValueError as error:
        parser.error(str(error))
    console = Console() if sys.stdout.isatty() else Console(width=_FILE_WIDTH)
    plan = QUICK if asked.quick else Plan()
    if asked.rounds:
        plan = replace(plan, rounds=asked.rounds)
    num_samples = asked.samples or (QUICK_SAMPLES if asked.quick else NUM_SAMPLES)
    folder = asked.results or (BUILD_FOLDER / "results" if asked.quick else RESULTS_FOLDER)
    # One name, also where the day ends meanwhile.
    report, stem = _report(()), results_stem()
    try:
        for variant in _variants(asked, entrants, plan, num_samples, console):
            report = _report((*report.variants, variant))
            # After each, so that hours of measuring outlive a stop.
            path = write(report, folder, stem=stem)
            console.print(f"written: {path}", soft_wrap=True)
    except KeyboardInterrupt:
        console.print(f"stopped; {len(report.variants)} tables were written")
        return _STOPPED
    show(report, console)
    if asked.json is not None:
        asked.json.write_text(to_json(report), encoding="utf-8")
    return 0 if all(bar.is_met for bar in report.bars) else _MISSED


def _report(variants: tuple[Variant, ...]) -> Report:
    return Report(environment=environment(), variants=variants, bars=goals(variants))


def _variants(
    asked: argparse.Namespace,
    entrants: list[Entrant],
    plan: Plan,
    num_samples: int,
    console: Console,
) -> Iterator[Variant]:
    columns = ("{task.description}", "{task.fields[what]}")
    first, last = (TextColumn(text, markup=False) for text in columns)
    memory = Memory()
    with Progress(
        first, BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), last, console=console
    ) as bars:
        progress = BarProgress(bars)
        for corpus, form, planes in VARIANTS:
            wanted = {"corpus": corpus, "data": form, "planes": planes}
            if any(
                value not in (getattr(asked, name) or [value]) for name, value in wanted.items()
            ):
                continue
            data = _corpus(corpus, num_samples, progress)
            if data is None:
                console.print(f"no folder {CLIPS_FOLDER.name} of real clips: {planes} skipped")
                continue
            clip = BenchClip(planes=planes)
            present = [x for x in entrants if x.role != "peer" or planes == "fmrgb"]
            yield run_variant(
                present, data, clip, form=form, plan=plan, memory=memory, progress=progress
            )
        progress.end()


def _corpus(name: Corpus, num_samples: int, progress: BarProgress) -> BenchData | None:
    settings = CorpusSettings(name=name, num_samples=num_samples)
    return make_corpus(settings, BUILD_FOLDER, progress.tell)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.throughput",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    for flag, choices in zip(
        ("corpus", "data", "planes"), zip(*VARIANTS, strict=True), strict=True
    ):
        parser.add_argument(
            f"--{flag}",
            action="append",
            choices=sorted(set(choices)),
            help="only this; may be repeated",
        )
    parser.add_argument("--only", action="append", default=[], help="only this contestant")
    parser.add_argument("--rounds", type=int, default=0, help="5 unless told otherwise")
    parser.add_argument("--samples", type=int, default=0, help=f"of the corpus; {NUM_SAMPLES}")
    parser.add_argument("--quick", action="store_true", help="less of everything; noisy")
    parser.add_argument("--results", type=Path, default=None, help="folder for the three files")
    parser.add_argument("--json", type=Path, default=None, help="also write the JSON file here")
    return parser


if __name__ == "__main__":
    sys.exit(main())
