"""`fmrgb verify ROOT`: a dataset -> what is wrong with it."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Final

from fmrgb_stream.cli.exit_codes import EXIT_GOOD, EXIT_PROBLEMS
from fmrgb_stream.errors import ConfigError

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser, Namespace

    from fmrgb_stream.packing import VerifyReport

NAME: Final = "verify"
HELP: Final = "check a dataset: checksums, tar structure, frame counts, split leaks"


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


def run(arguments: Namespace) -> int:
    """Verify; 0 when no error was found, 1 otherwise."""
    from rich.console import Console

    from fmrgb_stream.packing import verify
    from fmrgb_stream.packing.progress import make_progress

    report = verify(
        arguments.root,
        decode=parse_decode(arguments.decode),
        num_workers=arguments.num_workers,
        progress=make_progress(silent=arguments.json),
    )
    if arguments.json:
        sys.stdout.write(json.dumps(report.as_json()) + "\n")
        return _exit_code(report)
    console = Console()
    for finding in report.findings:
        console.print(str(finding), markup=False, highlight=False, soft_wrap=True)
    console.print(
        f"{report.num_shards} shards, {report.num_samples} samples, {report.num_decoded} decoded "
        f"in {report.seconds:.1f} s: {report.num_errors} errors, {report.num_warnings} warnings",
        highlight=False,
        soft_wrap=True,
    )
    return _exit_code(report)


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


def _exit_code(report: VerifyReport) -> int:
    return EXIT_GOOD if report.is_good else EXIT_PROBLEMS
