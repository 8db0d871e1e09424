"""Report -> a JSON file with every round, a Markdown page, a picture; and tables on the screen."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from rich.console import Console

from benchmarks.throughput.plot import draw
from benchmarks.throughput.results import Report
from benchmarks.throughput.tables import LEGEND, failures, markdown, rich_table


def write(report: Report, folder: Path, *, stem: str) -> Path:
    """Write the three files `<stem>.json`, `.md` and `.png`; the path of the first."""
    folder.mkdir(parents=True, exist_ok=True)
    json_path = folder / f"{stem}.json"
    json_path.write_text(to_json(report), encoding="utf-8")
    plot_path = json_path.with_suffix(".png")
    draw(report, plot_path)
    page = markdown(report, plot_name=plot_path.name)
    json_path.with_suffix(".md").write_text(page, encoding="utf-8")
    return json_path


def to_json(report: Report) -> str:
    """Everything that was measured, and the verdicts."""
    content = asdict(report)
    for bar, row in zip(report.bars, content["bars"], strict=True):
        row["is_met"] = bar.is_met
    return json.dumps(content, indent=2) + "\n"


def show(report: Report, console: Console) -> None:
    """Print the tables and the verdicts."""
    for variant in report.variants:
        console.print(rich_table(variant))
        for line in failures(variant):
            console.print(line, markup=False, highlight=False)
    console.print(LEGEND, markup=False, highlight=False)
    for bar in report.bars:
        console.print(str(bar), style="green" if bar.is_met else "red", markup=False)
