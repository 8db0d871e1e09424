"""`fmrgb evaluate RUN`: a trained model and a split -> every metric."""

from __future__ import annotations

import json
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Final

from fmrgb_stream.cli.exit_codes import EXIT_GOOD, EXIT_PROBLEMS
from fmrgb_stream.cli.run_flags import add_asked_flags, asked_from, waiting_for_all

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser, Namespace

    from fmrgb_stream.training.outcomes import Outcomes
    from fmrgb_stream.training.split_report import SplitReport

NAME: Final = "evaluate"
HELP: Final = "how good a trained model is on a split: all metrics, also of averaged windows"


def configure(parser: ArgumentParser) -> None:
    """Add the run, the split, and what is asked differently."""
    parser.add_argument("run", type=Path, help="Run directory, or a weights file in it.")
    parser.add_argument("--split", type=str, default="test", help="One of the dataset's.")
    add_asked_flags(parser)
    parser.add_argument(
        "--out",
        type=Path | None,
        default=None,
        help="Also write scores.json, predictions and confusion.png to this folder.",
    )


def run(arguments: Namespace) -> int:
    """Evaluate; 1 when samples could not be read."""
    from fmrgb_stream.packing.progress import make_progress
    from fmrgb_stream.training.split_report import report_split
    from fmrgb_stream.training.trained import open_trained

    with waiting_for_all():
        trained = open_trained(arguments.run, asked_from(arguments))
        is_main = trained.shown.accelerator.is_main_process
        with closing(make_progress(silent=arguments.json or not is_main)) as progress:
            outcomes = trained.outcomes(arguments.split, progress=progress)
    report = report_split(outcomes, config=trained.shown.config.train)
    if is_main:
        _tell(report, as_json=arguments.json)
        if arguments.out is not None:
            _write(arguments.out, report, outcomes)
    return EXIT_PROBLEMS if outcomes.unreadable else EXIT_GOOD


def _tell(report: SplitReport, *, as_json: bool) -> None:
    from rich.console import Console

    from fmrgb_stream.training.split_report import classes_table, confusion_table, scores_table

    if as_json:
        sys.stdout.write(json.dumps(report.as_json(), allow_nan=False) + "\n")
        return
    console = Console(highlight=False)
    for table in (scores_table(report), classes_table(report), confusion_table(report)):
        if table is not None:
            console.print(table)
    if report.unreadable:
        console.print(
            f"[red]{len(report.unreadable)} samples could not be read[/]:", soft_wrap=True
        )
        console.print(", ".join(report.unreadable), markup=False, soft_wrap=True)


def _write(out: Path, report: SplitReport, outcomes: Outcomes) -> None:
    from fmrgb_stream.shards.writer import write_atomic
    from fmrgb_stream.training.figures import draw_confusion
    from fmrgb_stream.training.metrics import ClassScores
    from fmrgb_stream.training.prediction_table import write_outcomes

    text = json.dumps(report.as_json(), indent=2, allow_nan=False) + "\n"
    write_atomic(out / "scores.json", text.encode())
    write_outcomes(out, [outcomes])
    if isinstance(report.clips, ClassScores):
        draw_confusion(out / "confusion.png", report.clips.confusion, names=report.names)
