"""Variants -> rows of text, for the terminal and for Markdown."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from rich.table import Table

from benchmarks.throughput.entrants import LIMIT, OURS
from benchmarks.throughput.goals import USUAL_PAIR
from benchmarks.throughput.results import Entry, Report, Round, Variant, memory, speed

COLUMNS: Final = (
    "contestant",
    "clips/s",
    "min-max",
    "ours is",
    "of limit",
    "of usual",
    "CPU ms",
    "PSS MiB",
    "start s",
    "workers",
    "off by",
)
LEGEND: Final = (
    "Medians over the rounds; ratios are medians of the ratios inside a round. `ours is`: how many "
    "times as fast ours is; `of usual`: relative to WebDataset + decord. CPU a clip and peak PSS: "
    "of the whole process tree. `start`: imports and first batch. `off by`: mean absolute "
    "difference of rgb/flow/mel from the reference, in grey levels."
)


def rows(variant: Variant) -> list[tuple[str, ...]]:
    """One row a contestant, the fastest first, those without figures last."""
    return [_row(variant, entry) for entry in _sorted(variant)]


def rich_table(variant: Variant) -> Table:
    """For the terminal."""
    table = Table(title=f"{variant.title} ({variant.num_samples} samples)", title_justify="left")
    for place, column in enumerate(COLUMNS):
        table.add_column(column, justify="right" if place else "left", overflow="fold")
    for row, entry in zip(rows(variant), _sorted(variant), strict=True):
        table.add_row(*row, style="bold" if entry.role == "ours" else None)
    return table


def markdown(report: Report, *, plot_name: str) -> str:
    """The whole report as a page."""
    lines = ["# Throughput", ""]
    lines += [f"{name}: {value}  " for name, value in report.environment.items()]
    lines += ["", LEGEND, "", f"![Clips a second]({plot_name})", ""]
    for variant in report.variants:
        num_rounds = max((len(entry.rounds) for entry in variant.entries), default=0)
        lines += [f"## {variant.title}", ""]
        lines += [f"{variant.num_samples} samples, {num_rounds} rounds.", ""]
        table = [COLUMNS, ("---",) * len(COLUMNS), *rows(variant)]
        lines += [f"| {' | '.join(row)} |" for row in table]
        lines += ["", *failures(variant)]
    lines += ["## What has to show", ""]
    lines += [f"- {bar}" for bar in report.bars] or ["- nothing of it was measured"]
    return "\n".join(lines).rstrip() + "\n"


def failures(variant: Variant) -> list[str]:
    """One line for each contestant that could not be timed, or not always."""
    lines = [f"- {entry.name}: {entry.failure}" for entry in variant.entries if entry.failure]
    return ["Without figures, or with fewer:", "", *lines, ""] if lines else []


def _sorted(variant: Variant) -> list[Entry]:
    return sorted(variant.entries, key=speed, reverse=True)


def _row(variant: Variant, entry: Entry) -> tuple[str, ...]:
    speeds = [each.clips_per_second for each in entry.rounds if each is not None]
    if not speeds:
        return (entry.name, "failed", *[""] * (len(COLUMNS) - 2))
    ours, limit, usual = (variant.find(label) for label in (OURS.label, LIMIT.label, USUAL_PAIR))
    return (
        entry.name,
        f"{speed(entry):.1f}",
        f"{min(speeds):.1f}-{max(speeds):.1f}",
        _ratio(variant, ours, entry, " x"),
        _ratio(variant, entry, limit, ""),
        _ratio(variant, entry, usual, ""),
        _figure(entry, lambda each: each.cpu_ms_per_clip, 2),
        f"{memory(entry):.0f}",
        _figure(entry, lambda each: each.import_seconds + each.first_batch_seconds, 1),
        str(entry.num_workers),
        _differences(entry),
    )


def _ratio(variant: Variant, entry: Entry | None, other: Entry | None, unit: str) -> str:
    if entry is None or other is None:
        return ""
    ratio = variant.ratio(entry, other)
    return "" if ratio is None else f"{ratio:.2f}{unit}"


def _figure(entry: Entry, value: Callable[[Round], float], digits: int) -> str:
    median = entry.median(value)
    return "" if median is None else f"{median:.{digits}f}"


def _differences(entry: Entry) -> str:
    content = entry.content
    if content is None:
        return ""
    found = (content.rgb, content.flow, content.mel)
    return "/".join("-" if value is None else f"{value:.1f}" for value in found)
