"""Ablation rows -> a table for the terminal, for a README, and for machines."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from rich.table import Table

from fmrgb_stream.training.ablation import AblationRow
from fmrgb_stream.training.metrics_file import plain_json
from fmrgb_stream.training.records import Evaluation

_COLUMNS = ("channels", "test", "val", "best epoch", "clips/s", "waiting", "time")


def rich_table(rows: Sequence[AblationRow], *, title: str = "") -> Table:
    """For `Console.print`."""
    table = Table(title=title or None)
    table.add_column(_COLUMNS[0])
    for name in _COLUMNS[1:]:
        table.add_column(name, justify="right")
    for row in rows:
        table.add_row(*_cells(row))
    return table


def markdown_table(rows: Sequence[AblationRow]) -> str:
    """A GitHub-flavoured table, ending in a newline."""
    lines = [_COLUMNS, ("---", *("---:",) * (len(_COLUMNS) - 1)), *(_cells(row) for row in rows)]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def write_results(path: Path, rows: Sequence[AblationRow], *, classes: Sequence[str]) -> None:
    """results.json: every variant with its channels, its test numbers and its history."""
    content = {
        "classes": list(classes),
        "variants": [
            {"name": row.variant.name, "channels": list(row.variant.channels)}
            | plain_json(row.result)
            for row in rows
        ],
    }
    path.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def _cells(row: AblationRow) -> tuple[str, ...]:
    result, best = row.result, row.result.best
    mean_speed = sum(record.clips_per_second for record in result.history) / len(result.history)
    mean_wait = sum(record.wait_share for record in result.history) / len(result.history)
    return (
        row.variant.name,
        _score(result.test),
        _score(best.val),
        f"{result.best_epoch + 1} of {len(result.history)}",
        f"{mean_speed:.0f}",
        f"{mean_wait:.0%}",
        f"{result.seconds:.0f} s",
    )


def _score(evaluation: Evaluation | None) -> str:
    return "-" if evaluation is None else f"{evaluation.score:.3f}"
