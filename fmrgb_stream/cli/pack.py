"""`fmrgb pack SRC DEST`: a folder of videos -> shards."""

from __future__ import annotations

import contextlib
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from fmrgb_stream.cli.exit_codes import EXIT_GOOD, EXIT_PROBLEMS
from fmrgb_stream.cli.flags import add_config_flags, config_from_flags
from fmrgb_stream.config import PackConfig
from fmrgb_stream.distributed import usable_cores

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser, Namespace

    from fmrgb_stream.packing import PackReport

NAME: Final = "pack"
HELP: Final = "turn a folder or table of videos into tar shards; a rerun continues"
STOPPED: Final = "what is finished is kept: run the same command again to go on"


def configure(parser: ArgumentParser) -> None:
    """Add the two paths, `--overwrite`, `--staging`, and a flag for every field of `PackConfig`."""
    from jsonargparse import ActionYesNo

    parser.add_argument(
        "source", type=Path, help="Folder of media, or a .csv / .jsonl table. Never written to."
    )
    parser.add_argument(
        "destination", type=str, help="Folder for the dataset, or an s3://, gs:// or az:// URL."
    )
    parser.add_argument(
        "--overwrite",
        action=ActionYesNo,
        default=False,
        help="Replace a dataset that was packed there from other input or with other settings.",
    )
    parser.add_argument(
        "--staging",
        type=Path | None,
        default=None,
        help="Folder where a dataset for a bucket is made before its upload.",
    )
    add_config_flags(parser, PackConfig)


def run(arguments: Namespace) -> int:
    """Pack; 0 when every input that is meant went in, 1 when some were rejected."""
    from fmrgb_stream.packing.workers import start_server

    config = config_from_flags(arguments, PackConfig)
    if config.executor == "local" and (config.num_workers or usable_cores()) > 1:
        start_server()  # it loads its libraries while this process loads the same
    from fmrgb_stream.packing import pack
    from fmrgb_stream.packing.progress import make_progress

    # Ray tells of lost nodes on stdout, which is the report's.
    with contextlib.redirect_stdout(sys.stderr):
        report = pack(
            arguments.source,
            arguments.destination,
            config=config,
            overwrite=arguments.overwrite,
            staging=arguments.staging,
            progress=make_progress(silent=arguments.json),
        )
    if arguments.json:
        sys.stdout.write(json.dumps(_as_json(report)) + "\n")
    else:
        _print_table(report)
    return EXIT_PROBLEMS if report.rejects else EXIT_GOOD


def _as_json(report: PackReport) -> dict[str, Any]:
    return {
        "num_packed": report.num_packed,
        "num_rejected": report.num_rejected,
        "num_skipped": report.num_skipped,
        "num_resumed": report.num_resumed,
        "seconds": round(report.seconds, 3),
        "rejects_path": str(report.rejects_path),
        "rejects": [asdict(reject) for reject in report.rejects],
        "skipped": [asdict(skipped) for skipped in report.skipped],
        "warnings": list(report.warnings),
        "splits": {
            name: {
                "num_samples": split.num_samples,
                "num_groups": split.num_groups,
                "duration_seconds": split.duration_seconds,
                "num_bytes": split.num_bytes,
            }
            for name, split in report.manifest.splits.items()
        },
    }


def _print_table(report: PackReport) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("split", "samples", "groups", "hours", "MB", "shards", title="Packed")
    for name, split in report.manifest.splits.items():
        table.add_row(
            name,
            str(split.num_samples),
            str(split.num_groups),
            f"{split.duration_seconds / 3600:.3f}",
            f"{split.num_bytes / 1e6:.1f}",
            str(len(split.shards)),
        )
    console = Console()
    console.print(table)
    console.print(
        f"{report.num_packed} samples in {report.seconds:.1f} s, {report.num_resumed} of them kept "
        f"from an earlier run; {report.num_rejected} inputs rejected"
        + (f" (reasons in {report.rejects_path})" if report.num_rejected else ""),
        highlight=False,
        markup=False,
        soft_wrap=True,
    )
    if report.skipped:
        console.print(
            f"{report.num_skipped} files skipped that this parser does not pack, e.g. "
            f"{report.skipped[0].path}: {report.skipped[0].reason}",
            highlight=False,
            markup=False,
            soft_wrap=True,
        )
    for warning in report.warnings:
        console.print(f"warning: {warning}", style="yellow", markup=False, soft_wrap=True)
    for reject in report.rejects[:20]:
        console.print(f"rejected {reject.path}: {reject.reason}", markup=False, soft_wrap=True)
