"""Interleaved timing: every round runs every contestant once, in turning order."""

from __future__ import annotations

import json
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from fmrgb_stream.distributed import usable_cores


def interleaved_ms(
    contestants: Mapping[str, Callable[[], int]], *, rounds: int
) -> dict[str, list[float]]:
    """Milliseconds a clip of each round, after one round of warm-up.

    Each contestant returns how many clips it made. Every other round runs backwards, so that a
    machine that slows down hurts all alike.
    """
    spent: dict[str, list[float]] = {name: [] for name in contestants}
    for round_index in range(rounds + 1):
        names = list(contestants)[:: -1 if round_index % 2 else 1]
        for name in names:
            start = time.perf_counter()
            num_clips = contestants[name]()
            if round_index:
                spent[name].append((time.perf_counter() - start) * 1e3 / num_clips)
    return spent


def report(title: str, spent: Mapping[str, list[float]], json_path: Path | None) -> None:
    """Print median, best and worst of each contestant; with a path, write them as JSON too."""
    print(f"{title} ({platform.machine()}, {usable_cores()} cores)")
    print(f"{'':34}{'median':>9}{'best':>9}{'worst':>9}  ms a clip")
    rows = {
        name: {"median": statistics.median(ms), "best": min(ms), "worst": max(ms)}
        for name, ms in spent.items()
    }
    for name, row in rows.items():
        print(f"{name:34}{row['median']:9.2f}{row['best']:9.2f}{row['worst']:9.2f}")
    if json_path is not None:
        json_path.write_text(json.dumps({"title": title, "ms_per_clip": rows}, indent=2) + "\n")
