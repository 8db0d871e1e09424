"""`fmrgb predict RUN`: a trained model and clips, labelled or not -> a table of predictions."""

from __future__ import annotations

import json
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Final

from fmrgb_stream.cli.exit_codes import EXIT_GOOD, EXIT_PROBLEMS
from fmrgb_stream.cli.run_flags import ALL_SPLITS, add_asked_flags, asked_from, waiting_for_all

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jsonargparse import ArgumentParser, Namespace

NAME: Final = "predict"
HELP: Final = "what a trained model says of every clip: parquet and csv, windows averaged"


def configure(parser: ArgumentParser) -> None:
    """Add the run, the splits, and what is asked differently."""
    from jsonargparse import ActionYesNo

    parser.add_argument("run", type=Path, help="Run directory, or a weights file in it.")
    parser.add_argument(
        "--split", type=str, default=ALL_SPLITS, help="One of the dataset's, or all of them."
    )
    parser.add_argument("--out", type=Path, required=True, help="Folder for the tables.")
    parser.add_argument(
        "--unlabelled",
        action=ActionYesNo,
        default=False,
        help="Do not look at labels or targets, whatever they are.",
    )
    add_asked_flags(parser)


def run(arguments: Namespace) -> int:
    """Predict; 1 when samples could not be read."""
    from fmrgb_stream.packing.progress import make_progress
    from fmrgb_stream.training.prediction_table import write_outcomes
    from fmrgb_stream.training.trained import open_trained

    wanted = arguments.split
    with waiting_for_all():
        trained = open_trained(arguments.run, asked_from(arguments))
        is_main = trained.shown.accelerator.is_main_process
        with closing(make_progress(silent=arguments.json or not is_main)) as progress:
            found = [
                trained.outcomes(split, with_truth=not arguments.unlabelled, progress=progress)
                for split in (trained.shown.filled_splits if wanted == ALL_SPLITS else (wanted,))
            ]
    unreadable = [key for outcomes in found for key in outcomes.unreadable]
    if is_main:
        files = write_outcomes(arguments.out, found)
        told = {
            "clips": {outcomes.split: len(outcomes) for outcomes in found},
            "files": [str(file) for file in files],
            "unreadable": unreadable,
        }
        sys.stdout.write(json.dumps(told) + "\n" if arguments.json else _text(told))
    return EXIT_PROBLEMS if unreadable else EXIT_GOOD


def _text(told: Mapping[str, object]) -> str:
    return "".join(f"{name}: {value}\n" for name, value in told.items() if value)
