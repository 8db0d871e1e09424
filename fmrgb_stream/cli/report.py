"""`fmrgb report RUN`: a run directory -> its pictures, predictions and report.html."""

from __future__ import annotations

import json
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Final

from fmrgb_stream.cli.exit_codes import EXIT_GOOD, EXIT_PROBLEMS
from fmrgb_stream.cli.run_flags import add_loading_flags, loading_from, waiting_for_all

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser, Namespace

NAME: Final = "report"
HELP: Final = "one page about a run: curves, scores, confusion, clips, ablation, step profile"


def configure(parser: ArgumentParser) -> None:
    """Add the run, the split, and how much is shown."""
    from jsonargparse import ActionYesNo

    parser.add_argument("run", type=Path, help="Run directory.")
    parser.add_argument(
        "--split",
        type=str | None,
        default=None,
        help="One of the dataset's; by default the run's test split, else its validation split.",
    )
    parser.add_argument(
        "--ablation",
        action=ActionYesNo,
        default=False,
        help="Also evaluate without the picture, without flow and without mel.",
    )
    parser.add_argument(
        "--clips", type=int, default=6, help="How many of the best and worst are pictured."
    )
    add_loading_flags(parser)


def run(arguments: Namespace) -> int:
    """Evaluate and write; 1 when samples could not be read."""
    from fmrgb_stream.packing.progress import make_progress
    from fmrgb_stream.training.run_report import write_report
    from fmrgb_stream.training.trained import open_trained

    with waiting_for_all():
        trained = open_trained(arguments.run, loading_from(arguments))
        is_main = trained.shown.accelerator.is_main_process
        with closing(make_progress(silent=arguments.json or not is_main)) as progress:
            report = write_report(
                trained,
                split=arguments.split,
                num_clips=arguments.clips,
                with_ablation=arguments.ablation,
                progress=progress,
            )
    if is_main and arguments.json:
        sys.stdout.write(json.dumps(report.as_json(), allow_nan=False) + "\n")
    elif is_main:
        sys.stdout.write(f"{trained.run.directory.report_path}\n")
    return EXIT_PROBLEMS if report.unreadable else EXIT_GOOD
