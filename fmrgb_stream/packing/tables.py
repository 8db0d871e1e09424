"""CSV or JSONL table -> SourceListing. Every complaint names the line."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from fmrgb_stream.errors import SourceError
from fmrgb_stream.packing.sources import (
    Reject,
    SourceItem,
    SourceListing,
    relative_name,
    sorted_classes,
)

_RESERVED: Final = ("group", "split", "start", "end")
_LABEL_NAMES: Final = ("label", "class")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    """One line of either table, as text or numbers."""

    line: int
    path: str
    label: str | None
    targets: Mapping[str, float] | None
    rest: Mapping[str, Any]
    """group, split, start, end as they stand in the table; None where absent."""


def list_table(table: Path, *, table_format: Literal["csv", "jsonl"]) -> SourceListing:
    """Read a table whose paths are relative to it.

    Raises:
        SourceError: no text, columns or values that cannot be; names the line.
    """
    try:
        # utf-8-sig also takes the mark that spreadsheets write first.
        text = table.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise SourceError(f"{table} cannot be read as UTF-8 text: {error}") from error
    reader = _csv_rows if table_format == "csv" else _jsonl_rows
    rows = list(reader(table, text))
    if not rows:
        raise SourceError(f"{table} has no rows below its header")
    names = _common_targets(table, rows)
    items: list[SourceItem] = []
    rejects: list[Reject] = []
    for row in rows:
        item = _item(table, row, names)
        if item.path.is_file():
            items.append(item)
        else:
            reason = f"line {row.line} of {table.name} names a file that does not exist"
            rejects.append(Reject(path=item.relative, reason=reason, stage="source"))
    return SourceListing(
        items=tuple(sorted(items, key=_order)),
        classes=sorted_classes(row.label for row in rows),
        target_names=names,
        rejects=tuple(sorted(rejects, key=lambda reject: reject.path)),
    )


def _order(item: SourceItem) -> tuple[str, float, float]:
    return item.relative, item.start_seconds or 0.0, item.end_seconds or math.inf


def _common_targets(table: Path, rows: Sequence[_Row]) -> tuple[str, ...]:
    """The names of the targets, which all rows must share; labels are for all rows or none."""
    first = rows[0]
    names = None if first.targets is None else tuple(first.targets)
    for row in rows:
        if (None if row.targets is None else tuple(row.targets)) != names:
            raise SourceError(
                f"{table} line {row.line}: targets {row.targets and list(row.targets)}, but line "
                f"{first.line} has {names and list(names)}; every row needs the same targets"
            )
        if (row.label is None) != (first.label is None):
            raise SourceError(
                f"{table} line {row.line}: {'no' if row.label is None else 'a'} label, but line "
                f"{first.line} is different; every row needs a label, or none"
            )
    return names or ()


def _item(table: Path, row: _Row, target_names: Sequence[str]) -> SourceItem:
    path = table.parent / row.path  # an absolute path stays as it is
    start, end = (_seconds(table, row, name) for name in ("start", "end"))
    if end is not None and end <= (start or 0.0):
        raise SourceError(
            f"{table} line {row.line}: end {end} s does not lie after start {start} s"
        )
    group, split = (_text(row.rest.get(name)) for name in ("group", "split"))
    return SourceItem(
        path=path,
        relative=relative_name(path, table.parent),
        label=row.label,
        targets=None if row.targets is None else tuple(row.targets[n] for n in target_names),
        group=group,
        split=split,
        start_seconds=start,
        end_seconds=end,
    )


def _seconds(table: Path, row: _Row, name: str) -> float | None:
    """A time of the table: seconds, or [hours:]minutes:seconds."""
    text = _text(row.rest.get(name))
    if text is None:
        return None
    try:
        parts = [float(part) for part in text.split(":")]
    except ValueError:
        parts = []
    value = sum(part * 60**power for power, part in enumerate(reversed(parts)))
    if not 1 <= len(parts) <= 3 or not math.isfinite(value) or value < 0:
        raise SourceError(
            f"{table} line {row.line}: {name} is {text!r}; seconds or [h:]m:s are allowed"
        )
    return value


def _text(value: Any) -> str | None:
    text = "" if value is None else str(value).strip()
    return text or None


def _csv_rows(table: Path, text: str) -> Iterator[_Row]:
    header_line = text.split("\n", 1)[0]
    delimiter = max(",;\t", key=header_line.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        lines = [(reader.line_num, [cell.strip() for cell in row]) for row in reader if any(row)]
    except csv.Error as error:
        raise SourceError(f"{table} line {reader.line_num}: {error}") from error
    if not lines:
        raise SourceError(f"{table} is empty; its first line must name the columns")
    header, body = lines[0][1], lines[1:]
    _check_header(table, header)
    for line, cells in body:
        if len(cells) != len(header):
            raise SourceError(
                f"{table} line {line}: {len(cells)} cells, but the header has {len(header)} columns"
            )
    free = [i for i, name in enumerate(header) if i and name.lower() not in _RESERVED]
    as_label = _is_label_column(header, free, [cells for _, cells in body])
    for line, cells in body:
        if not cells[0]:
            raise SourceError(f"{table} line {line}: the first column, the path, is empty")
        yield _Row(
            line=line,
            path=cells[0],
            label=_label_cell(table, line, cells[free[0]]) if as_label else None,
            targets=None
            if as_label or not free
            else {header[i]: _number(table, line, header[i], cells[i]) for i in free},
            rest={name.lower(): cells[i] for i, name in enumerate(header) if i not in (0, *free)},
        )


def _check_header(table: Path, header: Sequence[str]) -> None:
    lowered = [name.lower() for name in header]
    twice = sorted({name for name in lowered if lowered.count(name) > 1})
    if twice or "" in lowered:
        raise SourceError(f"{table} line 1: column names must be there and differ, got {header}")
    if lowered[0] in _RESERVED:
        raise SourceError(f"{table} line 1: the first column must be the path, got {header[0]!r}")


def _is_label_column(
    header: Sequence[str], free: Sequence[int], body: Sequence[Sequence[str]]
) -> bool:
    if len(free) != 1:
        return False
    return header[free[0]].lower() in _LABEL_NAMES or any(
        not _is_number(cells[free[0]]) for cells in body
    )


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _label_cell(table: Path, line: int, text: str) -> str:
    if not text:
        raise SourceError(f"{table} line {line}: the label is empty; every row needs one")
    return text


def _number(table: Path, line: int, name: str, value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise SourceError(
            f"{table} line {line}: {name} is {value!r}, not a number; a table has one column of "
            "class names, or only columns of numbers, beside path, group, split, start, end"
        )
    return number


def _jsonl_rows(table: Path, text: str) -> Iterator[_Row]:
    for line, content in enumerate(text.split("\n"), start=1):
        if not content.strip():
            continue
        try:
            values = json.loads(content)
        except ValueError as error:
            raise SourceError(f"{table} line {line} is not JSON: {error}") from error
        if not isinstance(values, dict) or not isinstance(values.get("path"), str):
            raise SourceError(f'{table} line {line}: an object with "path" is expected')
        known = {"path", "label", "targets", *_RESERVED}
        if set(values) - known:
            raise SourceError(
                f"{table} line {line}: unknown {sorted(set(values) - known)}; allowed are "
                f"{sorted(known)}"
            )
        yield _Row(
            line=line,
            path=values["path"],
            label=_text(values.get("label")),
            targets=_json_targets(table, line, values.get("targets")),
            rest={name: values.get(name) for name in _RESERVED},
        )


def _json_targets(table: Path, line: int, value: Any) -> Mapping[str, float] | None:
    if value is None:
        return None
    if isinstance(value, list):
        value = {f"target_{place}": number for place, number in enumerate(value)}
    if not isinstance(value, dict) or not value:
        raise SourceError(f"{table} line {line}: targets must be a list or object of numbers")
    return {str(name): _number(table, line, str(name), number) for name, number in value.items()}
