"""`fmrgb index SRC`: WebDataset tars of others -> sidecars and a manifest."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Final

from fmrgb_stream.cli.exit_codes import EXIT_GOOD, EXIT_PROBLEMS
from fmrgb_stream.cli.flags import add_config_flags, config_from_flags
from fmrgb_stream.config import IndexConfig

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser, Namespace

    from fmrgb_stream.packing import IndexReport

NAME: Final = "index"
HELP: Final = "make WebDataset tars of others a dataset: sidecars, manifest, DALI .idx; no copy"
STOPPED: Final = "what is finished is kept: run the same command again to go on"
_SHOWN: Final = 20


def configure(parser: ArgumentParser) -> None:
    """Add source, `--out`, `--overwrite`, and a flag for every field of `IndexConfig`."""
    from jsonargparse import ActionYesNo

    parser.add_argument("source", type=Path, help="Folder of .tar shards; they stay as they are.")
    parser.add_argument(
        "--out",
        type=Path | None,
        default=None,
        help="Folder for sidecars, manifest and links to the tars; by default beside the tars.",
    )
    parser.add_argument(
        "--overwrite",
        action=ActionYesNo,
        default=False,
        help="Replace the manifest and sidecars of a packed dataset.",
    )
    add_config_flags(parser, IndexConfig)


def run(arguments: Namespace) -> int:
    """Index; 0 when every sample can be used, 1 when some were rejected."""
    from fmrgb_stream.packing import index
    from fmrgb_stream.packing.progress import make_progress

    config = config_from_flags(arguments, IndexConfig, targets=tuple(arguments.targets))
    report = index(
        arguments.source,
        arguments.out,
        config=config,
        overwrite=arguments.overwrite,
        progress=make_progress(silent=arguments.json),
    )
    if arguments.json:
        _write_json(report)
    else:
        _print_table(report)
    return EXIT_PROBLEMS if report.rejects else EXIT_GOOD


def _write_json(report: IndexReport) -> None:
    manifest = report.manifest
    content = {
        "num_samples": manifest.num_samples,
        "num_rejected": len(report.rejects),
        "num_resumed": report.num_resumed,
        "seconds": round(report.seconds, 3),
        "label_source": report.label_source,
        "classes": list(manifest.classes),
        "target_names": list(manifest.target_names),
        "splits": {name: split.num_samples for name, split in manifest.splits.items()},
        "rejects": [asdict(reject) for reject in report.rejects],
        "warnings": list(report.warnings),
    }
    sys.stdout.write(json.dumps(content) + "\n")


def _print_table(report: IndexReport) -> None:
    from rich.console import Console
    from rich.table import Table

    manifest = report.manifest
    table = Table("split", "samples", "groups", "hours", "MB", "shards", title="Indexed")
    for name, split in manifest.splits.items():
        table.add_row(
            name,
            str(split.num_samples),
            str(split.num_groups),
            f"{split.duration_seconds / 3600:.3f}",
            f"{split.num_bytes / 1e6:.1f}",
            str(len(split.shards)),
        )
    console = Console(highlight=False, soft_wrap=True)
    console.print(table)
    labels = f"{len(manifest.classes)} classes from {report.label_source}"
    console.print(
        f"{manifest.num_samples} samples in {report.seconds:.1f} s, {report.num_resumed} of them "
        f"known from an earlier run; {labels if manifest.classes else 'no classes'}; "
        f"{len(manifest.target_names)} targets; {len(report.rejects)} rejected",
        markup=False,
    )
    for warning in report.warnings[:_SHOWN]:
        console.print(f"warning: {warning}", style="yellow", markup=False)
    for reject in report.rejects[:_SHOWN]:
        console.print(f"rejected {reject.path}: {reject.reason}", markup=False)
