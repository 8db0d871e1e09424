"""Figures with limits -> a printed table, pass or miss for each limit, a JSON file, an exit status."""

from __future__ import annotations

import argparse
import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from fmrgb_stream.distributed import usable_cores


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One figure that has to reach a limit."""

    name: str
    value: float
    limit: float
    unit: str = ""
    direction: Literal["at most", "at least"] = "at most"

    @property
    def is_met(self) -> bool:
        """Whether the figure is on the right side; exactly at the limit is."""
        if self.direction == "at most":
            return self.value <= self.limit
        return self.value >= self.limit

    def __str__(self) -> str:
        """One line for the terminal."""
        verdict = "pass" if self.is_met else "MISS"
        value, limit = f"{self.value:.4g}", f"{self.limit:.4g} {self.unit}".rstrip()
        return f"{verdict}  {self.name}: {value}, wanted {self.direction} {limit}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Rows of figures under a heading; every row has the same columns."""

    title: str
    rows: Sequence[Mapping[str, str | int | float]]

    def __str__(self) -> str:
        """Columns as wide as their widest cell, numbers with four digits."""
        lines = [list(self.rows[0]), *([_cell(value) for value in r.values()] for r in self.rows)]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        text = (
            "  ".join(
                cell.ljust(width) if place == 0 else cell.rjust(width)
                for place, (cell, width) in enumerate(zip(line, widths, strict=True))
            )
            for line in lines
        )
        return "\n".join([self.title, *text])


def argument_parser(description: str | None) -> argparse.ArgumentParser:
    """A parser with the flags that all of these scripts have: --json and --quick."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", type=Path, default=None, help="also write all figures here")
    parser.add_argument("--quick", action="store_true", help="less of everything; noisy")
    return parser


def hardware() -> str:
    """Processor, cores this process may use, and the Python it runs."""
    try:
        cpuinfo = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        cpuinfo = ""
    names = (
        line.partition(":")[2].strip() for line in cpuinfo.splitlines() if "model name" in line
    )
    name = next(names, platform.processor() or platform.machine())
    load = os.getloadavg()[0]
    python = platform.python_version()
    return f"{name}, {usable_cores()} usable cores, Python {python}, load {load:.1f} at the end"


def conclude(
    question: str, tables: Sequence[Table], bars: Sequence[Bar], json_path: Path | None
) -> int:
    """Print everything, write the JSON; the exit status is 1 if a bar is missed."""
    machine = hardware()
    print(f"{question}\n{machine}")
    for part in (*tables, *bars):
        print(f"\n{part}" if isinstance(part, Table) or part is bars[0] else part)
    if json_path is not None:
        content: dict[str, Any] = {
            "question": question,
            "hardware": machine,
            "tables": {table.title: list(table.rows) for table in tables},
            "bars": [
                {
                    "name": bar.name,
                    "value": bar.value,
                    "limit": bar.limit,
                    "unit": bar.unit,
                    "direction": bar.direction,
                    "is_met": bar.is_met,
                }
                for bar in bars
            ],
        }
        json_path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    return 0 if all(bar.is_met for bar in bars) else 1


def _cell(value: str | float) -> str:
    return value if isinstance(value, str) else f"{value:.4g}" if value % 1 else f"{value:.0f}"
