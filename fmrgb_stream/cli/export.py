"""`fmrgb export ROOT --out DIR --to FORM`: a dataset -> files that other programs read."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Final

from fmrgb_stream.cli.exit_codes import EXIT_GOOD
from fmrgb_stream.cli.flags import add_config_flags, config_from_flags
from fmrgb_stream.config import ExportConfig
from fmrgb_stream.distributed import usable_cores

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser, Namespace

NAME: Final = "export"
HELP: Final = "take a dataset elsewhere: media files, .pt tensors, Hugging Face, LitData"
STOPPED: Final = "what is finished is kept: run the same command again to go on"


def configure(parser: ArgumentParser) -> None:
    """Add the root, `--out`, and a flag for every field of `ExportConfig`."""
    parser.add_argument("root", type=str, help="Dataset root, the folder of manifest.json.")
    parser.add_argument("--out", type=Path, required=True, help="Folder for the files.")
    add_config_flags(parser, ExportConfig)


def run(arguments: Namespace) -> int:
    """Export; 0 when all samples were written."""
    config = config_from_flags(arguments, ExportConfig)
    if (config.num_workers or usable_cores()) > 1 and config.to != "litdata":
        from fmrgb_stream.packing.workers import start_server

        start_server()
    from rich.console import Console

    from fmrgb_stream.packing import export
    from fmrgb_stream.packing.progress import make_progress

    report = export(
        arguments.root,
        arguments.out,
        config=config,
        progress=make_progress(silent=arguments.json),
    )
    if arguments.json:
        sys.stdout.write(json.dumps({"out": str(arguments.out), **asdict(report)}) + "\n")
    else:
        console = Console(highlight=False, soft_wrap=True)
        for warning in report.warnings:
            console.print(f"warning: {warning}", markup=False, style="yellow")
        console.print(
            f"{arguments.out}: {report.num_samples} samples, {report.num_resumed} of them kept from "
            f"an earlier run, {report.num_bytes / 1e6:.1f} MB in {report.seconds:.1f} s",
            markup=False,
        )
    return EXIT_GOOD
