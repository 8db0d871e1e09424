"""`fmrgb verify ROOT`: a dataset -> what is wrong with it."""

from __future__ import annotations

import json
import sys
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, cast

from fmrgb_stream.cli.exit_codes import EXIT_GOOD, EXIT_PROBLEMS
from fmrgb_stream.errors import ConfigError

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser, Namespace

    from fmrgb_stream.packing import RepairReport, VerifyReport

NAME: Final = "verify"
HELP: Final = "check a dataset: checksums, tars, decoding, sync, split leaks; --repair it"
STOPPED: Final = "a repair goes on when the same command is run again"
_SHOWN_OF_A_KIND: Final = 20
_STYLES: Final = {"error": "red", "warning": "yellow", "info": "cyan"}


def configure(parser: ArgumentParser) -> None:
    """Add the root and how much is decoded."""
    parser.add_argument("root", type=str, help="Dataset root, the folder of manifest.json.")
    parser.add_argument(
        "--decode",
        type=str,
        default="all",
        help="Samples whose frames are counted by decoding: all, none, or at most this many.",
    )
    parser.add_argument(
        "--num-workers", type=int | None, default=None, help="Threads; one a core by default."
    )
    parser.add_argument(
        "--repair",
        type=Path | None,
        default=None,
        help="Folder for a new dataset without the samples that have errors; a rerun continues.",
    )
    parser.add_argument(
        "--drop",
        type=Literal["errors", "warnings"],
        default="errors",
        help="What --repair leaves a sample out for.",
    )


def run(arguments: Namespace) -> int:
    """Verify; 0 when no error was found, 1 otherwise, with or without a repair."""
    from fmrgb_stream.packing import repair, verify
    from fmrgb_stream.packing.destination import check_local
    from fmrgb_stream.packing.progress import make_progress

    repaired, destination = None, cast("Path | None", arguments.repair)
    if destination is not None:
        check_local(destination)  # before hours of decoding
    report = verify(
        arguments.root,
        decode=parse_decode(arguments.decode),
        num_workers=arguments.num_workers,
        progress=make_progress(silent=arguments.json),
    )
    if not arguments.json:
        _print_report(report)
    if destination is not None:
        repaired = repair(
            arguments.root,
            destination,
            report,
            drop=arguments.drop,
            num_workers=arguments.num_workers,
            progress=make_progress(silent=arguments.json),
        )
    if arguments.json:
        _write_json(report, repaired, destination)
    elif repaired is not None and destination is not None:
        _print_repair(report, repaired, destination)
    return EXIT_GOOD if report.is_good else EXIT_PROBLEMS


def _print_report(report: VerifyReport) -> None:
    from rich.console import Console

    console = Console(highlight=False, soft_wrap=True)
    told: Counter[tuple[str, str]] = Counter()
    for finding in report.findings:
        kind = (finding.severity, finding.check)
        told[kind] += 1
        if told[kind] <= _SHOWN_OF_A_KIND:
            console.print(str(finding), markup=False, style=_STYLES[finding.severity])
    for (severity, check), count in told.items():
        if count > _SHOWN_OF_A_KIND:
            rest = count - _SHOWN_OF_A_KIND
            console.print(f"{severity}: {check}: {rest} more of these; --json lists all")
    console.print(
        f"{report.num_shards} shards, {report.num_samples} samples, {report.num_decoded} decoded "
        f"in {report.seconds:.1f} s: {report.num_errors} errors, {report.num_warnings} warnings, "
        f"{report.count('info')} infos"
    )


def _print_repair(report: VerifyReport, repaired: RepairReport, destination: Path) -> None:
    from rich.console import Console

    kept = repaired.manifest.num_samples
    console = Console(highlight=False, soft_wrap=True)
    for warning in repaired.warnings[:_SHOWN_OF_A_KIND]:
        console.print(f"warning: {warning}", markup=False, style=_STYLES["warning"])
    console.print(
        f"{destination}: {kept} of {report.num_samples} samples, {repaired.num_resumed} of them "
        f"kept from an earlier run; what was left out and why is in rejects.jsonl",
        markup=False,
    )


def _write_json(
    report: VerifyReport, repaired: RepairReport | None, destination: Path | None
) -> None:
    content = report.as_json()
    if repaired is not None:
        content["repair"] = {
            "root": str(destination),
            "num_samples": repaired.manifest.num_samples,
            "num_resumed": repaired.num_resumed,
            "warnings": list(repaired.warnings),
            "dropped": [asdict(reject) for reject in repaired.dropped],
        }
    sys.stdout.write(json.dumps(content) + "\n")


def parse_decode(text: str) -> int | None:
    """`all`, `none` or a number -> how many samples to decode; None is all of them.

    Raises:
        ConfigError: anything else.
    """
    if text == "all":
        return None
    if text == "none":
        return 0
    if text.isascii() and text.isdigit():
        return int(text)
    raise ConfigError(f"--decode {text!r}: all, none, or a number of samples")
