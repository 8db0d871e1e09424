"""Processes that share an epoch -> clips a second and bytes read, all together."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.bars import Bar, Table
from fmrgb_stream.shards import Manifest
from fmrgb_stream.storage import Store

BYTES_RATIO = 1.1
"""Bytes read by all ranks in an epoch, to those of the dataset."""
_BATCH_SIZE = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class RankEpoch:
    """What one process did in one epoch; the fields are those that `rank.py` prints."""

    num_steps: int
    sample_ids: list[int]
    """Without the repeats that fill the last batch."""
    num_bytes: int
    num_shard_bytes: int
    cpu_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class WorldEpoch:
    """What all processes of a world did in one epoch."""

    seconds: float
    ranks: tuple[RankEpoch, ...]

    @property
    def num_clips(self) -> int:
        """Clips of all ranks."""
        return sum(len(rank.sample_ids) for rank in self.ranks)

    @property
    def num_bytes(self) -> int:
        """Bytes that all ranks read; 0 of those that their decode processes read."""
        return sum(rank.num_bytes for rank in self.ranks)


def measure_ranks(
    root: Path, world_sizes: Sequence[int], *, rounds: int
) -> tuple[Table, list[Bar]]:
    """All worlds are up at once and take turns, so that a round compares like with like."""
    epochs: dict[int, list[WorldEpoch]] = {size: [] for size in world_sizes}
    counted: dict[int, list[WorldEpoch]] = {size: [] for size in world_sizes}
    with ExitStack() as stack:
        worlds = {size: stack.enter_context(_world(root, size)) for size in world_sizes}
        for number in range(rounds + 1):
            for size in world_sizes[:: -1 if number % 2 else 1]:
                # The first round warms up, and is the one whose reads are counted.
                epoch = _play(worlds[size], "go" if number else "count")
                (epochs if number else counted)[size].append(epoch)
    entry = Manifest.load(Store(root)).split("train")
    first = epochs[world_sizes[0]]
    table = Table(
        title=f"ranks: one epoch of {entry.num_samples} samples over all processes",
        rows=[
            _row(size, epochs[size], first, counted[size][0], entry.num_bytes)
            for size in world_sizes
        ],
    )
    bars = [
        bar
        for size in world_sizes
        for bar in bars_of(size, epochs[size], counted[size][0], entry.num_samples, entry.num_bytes)
    ]
    return table, bars


def bars_of(
    size: int,
    epochs: Sequence[WorldEpoch],
    counted: WorldEpoch,
    num_samples: int,
    num_bytes: int,
) -> list[Bar]:
    """Exact coverage, equal steps, bytes read about once (in the epoch that was counted)."""
    every, played = list(range(num_samples)), [counted, *epochs]
    wrong = sum(sorted(i for r in epoch.ranks for i in r.sample_ids) != every for epoch in played)
    uneven = sum(len({rank.num_steps for rank in epoch.ranks}) > 1 for epoch in played)
    ratio = counted.num_bytes / num_bytes
    return [
        Bar(name=f"{size} ranks: epochs not every sample once", value=wrong, limit=0),
        Bar(name=f"{size} ranks: epochs with unequal steps", value=uneven, limit=0),
        Bar(name=f"{size} ranks: bytes read to bytes there", value=ratio, limit=BYTES_RATIO),
    ]


def _row(
    size: int,
    epochs: Sequence[WorldEpoch],
    first: Sequence[WorldEpoch],
    counted: WorldEpoch,
    num_bytes: int,
) -> dict[str, str | int | float]:
    rates = [epoch.num_clips / epoch.seconds for epoch in epochs]
    gains = [one.seconds / many.seconds for one, many in zip(first, epochs, strict=True)]
    cpu = [sum(rank.cpu_seconds for rank in e.ranks) / e.num_clips * 1e3 for e in epochs]
    return {
        "ranks": size,
        "clips/s": statistics.median(rates),
        "best": max(rates),
        "worst": min(rates),
        "x of the first": statistics.median(gains),
        "CPU ms a clip": statistics.median(cpu),
        "read MB": counted.num_bytes / 1e6,
        "read / there": counted.num_bytes / num_bytes,
        "steps": "/".join(str(rank.num_steps) for rank in epochs[-1].ranks),
    }


@contextmanager
def _world(root: Path, size: int) -> Generator[list[subprocess.Popen[str]]]:
    """The processes of one world, ready; they end with their stdin."""
    processes: list[subprocess.Popen[str]] = []
    command = [sys.executable, "-m", "benchmarks.scaling.rank", str(root), str(_BATCH_SIZE)]
    try:
        for rank in range(size):
            variables = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": size,
                         "LOCAL_WORLD_SIZE": size}  # fmt: skip
            environment = os.environ | {name: str(value) for name, value in variables.items()}
            processes.append(
                subprocess.Popen(
                    command,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                    env=environment,
                )
            )
        for process in processes:
            _line(process)
        yield processes
    finally:
        for process in processes:
            process.communicate()


def _play(processes: Sequence[subprocess.Popen[str]], line: str) -> WorldEpoch:
    start = time.perf_counter()
    for process in processes:
        if process.stdin is None:
            raise AssertionError("processes are started with a pipe")
        process.stdin.write(f"{line}\n")
        process.stdin.flush()
    lines = [_line(process) for process in processes]
    seconds = time.perf_counter() - start
    return WorldEpoch(seconds=seconds, ranks=tuple(RankEpoch(**json.loads(li)) for li in lines))


def _line(process: subprocess.Popen[str]) -> str:
    line = process.stdout.readline() if process.stdout is not None else ""
    if not line:
        raise RuntimeError(f"a rank ended with status {process.wait()}; its error is above")
    return line
