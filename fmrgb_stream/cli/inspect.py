"""`fmrgb inspect ROOT [KEY]`: a dataset, or one of its samples -> tables or JSON."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Final

from fmrgb_stream.cli.exit_codes import EXIT_GOOD

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser, Namespace

    from fmrgb_stream.viewing.dataset_card import DatasetCard

NAME: Final = "inspect"
HELP: Final = "what a dataset holds, or one sample of it: streams, keyframes, times, labels"


def configure(parser: ArgumentParser) -> None:
    """Add the root and the key."""
    parser.add_argument("root", type=str, help="Dataset root, the folder of manifest.json.")
    parser.add_argument(
        "key", type=str, nargs="?", default=None, help="Look at this sample only, in all detail."
    )


def run(arguments: Namespace) -> int:
    """Print the card; always 0 when it could be made."""
    from rich.console import Console

    from fmrgb_stream.viewing.card_tables import dataset_tables, sample_tables

    if arguments.key is None:
        card = _dataset_card(arguments)
        tables = dataset_tables(card)
    else:
        from fmrgb_stream.viewing.sample_card import read_sample_card

        card = read_sample_card(arguments.root, arguments.key)
        tables = sample_tables(card)
    if arguments.json:
        sys.stdout.write(json.dumps(card.as_json()) + "\n")
        return EXIT_GOOD
    console = Console(highlight=False)
    for table in tables:
        console.print(table)
    return EXIT_GOOD


def _dataset_card(arguments: Namespace) -> DatasetCard:
    from fmrgb_stream.packing.progress import make_progress
    from fmrgb_stream.viewing.dataset_card import read_dataset_card

    progress = make_progress(silent=arguments.json, unit="samples")
    try:
        return read_dataset_card(
            arguments.root,
            started=lambda total: progress.start(NAME, total=total),
            advanced=lambda count: progress.advance(NAME, count),
        )
    finally:
        progress.close()
