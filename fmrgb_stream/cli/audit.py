"""`fmrgb audit FOLDER`: logs of delivered clips -> whether every clip came exactly once."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any, Final

from fmrgb_stream.cli.exit_codes import EXIT_GOOD, EXIT_PROBLEMS
from fmrgb_stream.config import check_count
from fmrgb_stream.errors import FmrgbError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jsonargparse import ArgumentParser, Namespace
    from rich.console import Console

    from fmrgb_stream.shards import ShardReader
    from fmrgb_stream.shards.audit_log import SourceInfo
    from fmrgb_stream.shards.audit_report import ClipName, EpochAudit, OrderAudit

NAME: Final = "audit"
_ALWAYS_SHOWN: Final = ("epoch", "missing", "duplicates")
HELP: Final = "prove from the logs of a training that every clip came exactly once"


def configure(parser: ArgumentParser) -> None:
    """Add the folder and what is shown."""
    parser.add_argument(
        "folder", type=str, help="Where the loaders wrote: build_loader(audit_log=FOLDER)."
    )
    parser.add_argument(
        "--show", type=int, default=20, help="Missing and substituted clips that are named."
    )
    parser.add_argument(
        "--running",
        action="store_true",
        help="The training has not ended: what its last epoch has not come to is no problem.",
    )


def run(arguments: Namespace) -> int:
    """Audit; 0 when every clip came exactly once, 1 otherwise."""
    from rich.console import Console

    from fmrgb_stream.shards.audit import audit_stretches
    from fmrgb_stream.shards.audit_records import read_logs

    check_count("--show", arguments.show)
    audits = [
        replace(audit, missing=_with_keys(audit.missing[: arguments.show], audit.sources))
        if audit.missing
        else audit
        for audit in audit_stretches(read_logs(arguments.folder))
    ]
    good = [audit.is_good(may_be_running=arguments.running) for audit in audits]
    is_good = bool(good) and all(good)
    if arguments.json:
        listed = [_as_json(audit, is_good=one) for audit, one in zip(audits, good, strict=True)]
        sys.stdout.write(json.dumps({"is_good": is_good, "orders": listed}) + "\n")
    else:
        console = Console()
        for audit in audits:
            _print(console, audit, show=arguments.show)
        console.print(
            "every clip came exactly once" if is_good else "not every clip came exactly once",
            style="bold green" if is_good else "bold red",
        )
    return EXIT_GOOD if is_good else EXIT_PROBLEMS


def _with_keys(names: Sequence[ClipName], sources: Sequence[SourceInfo]) -> tuple[ClipName, ...]:
    """The clips with their samples' keys, where the dataset is still there and the same."""
    readers = {number: _reader(sources[number]) for number in {name.source for name in names}}
    return tuple(replace(name, key=_key(readers[name.source], name.sample_id)) for name in names)


def _key(reader: ShardReader | None, sample_id: int) -> str:
    try:
        return "" if reader is None else reader.describe(sample_id)[1]
    except FmrgbError:
        return ""  # its sidecar cannot be read; the number says which sample it is


def _reader(source: SourceInfo) -> ShardReader | None:
    from fmrgb_stream.shards import Manifest, ShardReader
    from fmrgb_stream.storage import Store
    from fmrgb_stream.storage.retry import RetryPolicy
    from fmrgb_stream.storage.urls import parse_location

    try:
        asked = {name: getattr(source, name) for name in ("endpoint", "region", "anonymous")}
        # The keys are no more than convenient: who asks for the audit shall not wait for them.
        policy = RetryPolicy(tries=1, inner_retries=0)
        store = Store(replace(parse_location(source.url), **asked), policy=policy)
        manifest = Manifest.load(store)
        if manifest.fingerprint(source.split) == source.fingerprint:
            return ShardReader(store, manifest.split(source.split))
    except FmrgbError as error:
        sys.stderr.write(f"fmrgb audit: no keys for the missing samples: {error}\n")
    return None


def _as_json(audit: OrderAudit, *, is_good: bool) -> dict[str, Any]:
    content = asdict(audit)
    for values, epoch in zip(content["epochs"], audit.epochs, strict=True):
        values["coverage"] = epoch.coverage
    return {"is_good": is_good, **content}


def _print(console: Console, audit: OrderAudit, *, show: int) -> None:
    from rich.table import Table

    world_sizes = " and ".join(map(str, audit.world_sizes))
    console.print(
        f"{', '.join(source.url for source in audit.sources)}, split {audit.sources[0].split}, "
        f"seed {audit.seed}, on {world_sizes} processes",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )
    table = Table()
    rows = [_row(epoch) for epoch in audit.epochs]
    # What never happened is left out, so that the table fits a terminal.
    for name in rows[0]:
        if name in _ALWAYS_SHOWN or any(row[name] != "0" for row in rows):
            table.add_column(name, justify="right")
    for row in rows:
        table.add_row(*(row[str(column.header)] for column in table.columns))
    console.print(table)
    for one in audit.passes:
        if one.num_missing:
            console.print(
                f"pass {one.number} over source {one.source}: {one.num_missing} of "
                f"{one.num_clips} clips did not come",
                highlight=False,
            )
    for what, names in (("missing", audit.missing), ("substituted", audit.substituted)):
        for name in names[:show]:
            by = f" by {name.key}" if what == "substituted" else f" {name.key}".rstrip()
            console.print(
                f"{what}: sample {name.sample_id}{by}, source {name.source}, pass {name.number}",
                markup=False,
                highlight=False,
                soft_wrap=True,
            )


def _row(epoch: EpochAudit) -> dict[str, str]:
    again = f" (time {epoch.playing + 1})" if epoch.playing else ""
    return {
        "epoch": f"{epoch.epoch}{again}",
        # 100 % is said of nothing less.
        "coverage": f"{int(epoch.coverage * 1000) / 10:.1f} %",
        "clips": f"{epoch.num_delivered}/{epoch.num_expected}",
        "missing": str(epoch.num_missing),
        "duplicates": str(epoch.num_duplicates),
        "to come": str(epoch.num_to_come),
        "padding": str(epoch.num_padding),
        "dropped": str(epoch.num_dropped),
        "substitutes": str(epoch.num_substitutes),
        "rolled back": str(epoch.num_rolled_back),
    }
