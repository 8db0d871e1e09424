"""`fmrgb stats ROOT`: channel statistics of a dataset, measured anew."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Final

from fmrgb_stream.cli.exit_codes import EXIT_GOOD
from fmrgb_stream.distributed import usable_cores

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser, Namespace

    from fmrgb_stream.shards import Manifest

NAME: Final = "stats"
HELP: Final = "measure mean and deviation of every channel anew, into the manifest"


def configure(parser: ArgumentParser) -> None:
    """Add the root, how much is measured, and `--dry-run`."""
    from jsonargparse import ActionYesNo

    parser.add_argument("root", type=str, help="Dataset root, the folder of manifest.json.")
    parser.add_argument(
        "--clips",
        type=int | None,
        default=None,
        help="Clips of the train split at most; by default as many as it was packed with.",
    )
    parser.add_argument(
        "--dry-run", action=ActionYesNo, default=False, help="Leave the manifest as it is."
    )
    parser.add_argument(
        "--num-workers", type=int | None, default=None, help="Processes; one a core by default."
    )


def run(arguments: Namespace) -> int:
    """Measure; the manifest is replaced at once, or with `--dry-run` not at all."""
    from fmrgb_stream.packing.workers import start_server

    if (arguments.num_workers or usable_cores()) > 1:
        start_server()
    from fmrgb_stream.packing.statistics import recompute_statistics
    from fmrgb_stream.shards import Manifest
    from fmrgb_stream.storage import Store

    before = Manifest.load(Store(arguments.root))
    after = recompute_statistics(
        arguments.root,
        max_clips=arguments.clips,
        is_trial=arguments.dry_run,
        num_workers=arguments.num_workers,
    )
    if arguments.json:
        content = {
            "root": arguments.root,
            "num_clips": after.stats_num_clips,
            "is_written": not arguments.dry_run,
            "channel_stats": {name: asdict(stats) for name, stats in after.channel_stats.items()},
        }
        sys.stdout.write(json.dumps(content) + "\n")
    else:
        _print_table(before, after, is_written=not arguments.dry_run)
    return EXIT_GOOD


def _print_table(before: Manifest, after: Manifest, *, is_written: bool) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("channel", "mean", "std", "mean before", "std before")
    for name, stats in after.channel_stats.items():
        old = before.channel_stats.get(name)
        olds = ("-", "-") if old is None else (f"{old.mean:.4f}", f"{old.std:.4f}")
        table.add_row(name, f"{stats.mean:.4f}", f"{stats.std:.4f}", *olds)
    console = Console(highlight=False, soft_wrap=True)
    console.print(table)
    where = "written to manifest.json" if is_written else "manifest.json is as it was"
    console.print(f"of {after.stats_num_clips} clips of the train split; {where}")
