"""Workers of one loader, processes or threads -> clips a second."""

from __future__ import annotations

import statistics
from functools import partial
from pathlib import Path

from benchmarks.bars import Table
from benchmarks.scaling.cpu import cpu_seconds
from benchmarks.timing import interleaved_ms
from fmrgb_stream.config import WorkerKind
from fmrgb_stream.distributed import usable_cores
from fmrgb_stream.loader import build_loader

_KINDS: tuple[WorkerKind, ...] = ("process", "thread")


def measure_workers(root: Path, *, rounds: int) -> Table:
    """Two epochs a round with each of 1, 2, ... workers, one more than there are cores at last."""
    contestants: list[tuple[WorkerKind, int]] = [
        (kind, n) for kind in _KINDS for n in range(1, usable_cores() + 2)
    ]
    cpu: dict[tuple[WorkerKind, int], list[float]] = {key: [] for key in contestants}

    def epoch(kind: WorkerKind, num_workers: int) -> int:
        start = cpu_seconds()
        with build_loader(root, batch_size=8, num_workers=num_workers, worker_kind=kind) as loader:
            num_clips = sum(len(batch) for _ in range(2) for batch in loader)
        cpu[kind, num_workers].append((cpu_seconds() - start) / num_clips)
        return num_clips

    spent = interleaved_ms(
        {f"{kind} {n}": partial(epoch, kind, n) for kind, n in contestants}, rounds=rounds
    )
    rows: list[dict[str, str | int | float]] = []
    for kind, n in contestants:
        one, mine = spent[f"{kind} 1"], spent[f"{kind} {n}"]
        rows.append(
            {
                "workers": f"{n} {kind}",
                "clips/s": 1e3 / statistics.median(mine),
                "best": 1e3 / min(mine),
                "worst": 1e3 / max(mine),
                # Inside a round the machine is the same for all.
                "x of 1 worker": statistics.median(
                    first / many for first, many in zip(one, mine, strict=True)
                ),
                "CPU ms a clip": statistics.median(cpu[kind, n][1:]) * 1e3,
            }
        )
    return Table(title="workers: one loader, two epochs, with starting and ending", rows=rows)
