"""A dataset of any size -> what opening, planning, resuming and the first batch cost."""

from __future__ import annotations

import statistics
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from benchmarks.bars import Bar, Table
from benchmarks.scaling.counted import CountedStore
from benchmarks.synthetic import write_dataset
from fmrgb_stream.clips.source import SampleSource
from fmrgb_stream.clips.windows import split_items
from fmrgb_stream.config import ClipConfig, LoaderConfig
from fmrgb_stream.distributed import WorldInfo
from fmrgb_stream.loader import build_loader
from fmrgb_stream.shards import EpochPlan, Manifest, RankTasks, ShardReader, SplitEntry
from fmrgb_stream.shards.order import DatasetOrder
from fmrgb_stream.shards.position import EpochPlace
from fmrgb_stream.storage import Store

Result = TypeVar("Result")

PLACES = ("start", "middle", "end")
FIRST_BATCH_SECONDS = 2.0
"""Wanted at a million samples; asked of every size."""
PLAN_BYTES_A_SAMPLE = 4.0
RESUME_RATIO = 1.5
"""Of the dearest place to the start; the work is the same but for the sidecars touched."""
_BATCH_SIZE = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class ResumeCost:
    """From nothing to the encoded samples of the first batch, at one place of the epoch."""

    num_reads: int
    cpu_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SizeCost:
    """Medians over the rounds for one dataset; of the CPU time of resuming the least."""

    num_samples: int
    manifest_bytes: int
    manifest_ms: float
    manifest_held_bytes: int
    plan_ms: float
    plan_peak_bytes: int
    resume: dict[str, ResumeCost]
    first_batch_seconds: dict[str, float]
    """By place; build_loader, resume and the batch itself."""


def measure(root: Path, *, num_samples: int, rounds: int) -> SizeCost:
    """Take all figures of one dataset; the rounds go through the places in turning order."""
    manifest = Manifest.load(Store(root))
    entry = manifest.split("train")
    positions = positions_of(num_samples)
    resume: dict[str, list[ResumeCost]] = {place: [] for place in PLACES}
    seconds: dict[str, list[float]] = {place: [] for place in PLACES}
    for number in range(rounds + 1):
        for place in PLACES[:: -1 if number % 2 else 1]:
            cost, first_batch = (
                resume_cost(root, positions[place]),
                first_batch_seconds(root, positions[place]),
            )
            if number:  # the first round warms up
                resume[place].append(cost)
                seconds[place].append(first_batch)
    return SizeCost(
        num_samples=num_samples,
        manifest_bytes=(root / "manifest.json").stat().st_size,
        manifest_ms=_median_cpu_ms(lambda: Manifest.load(Store(root)), rounds),
        manifest_held_bytes=_traced(lambda: Manifest.load(Store(root)))[0],
        plan_ms=_median_cpu_ms(lambda: _plan(entry), rounds),
        plan_peak_bytes=_traced(lambda: _plan(entry))[1],
        resume={
            place: ResumeCost(
                num_reads=max(cost.num_reads for cost in costs),
                # The least: the work is what is compared, and what else runs only adds to it.
                cpu_ms=min(cost.cpu_ms for cost in costs),
            )
            for place, costs in resume.items()
        },
        first_batch_seconds={place: statistics.median(taken) for place, taken in seconds.items()},
    )


def measure_sizes(folder: Path, sizes: list[int], *, rounds: int) -> tuple[Table, list[Bar]]:
    """One row a size, and its bars."""
    costs = [
        measure(
            write_dataset(folder / f"size-{size}", num_samples=size),
            num_samples=size,
            rounds=rounds,
        )
        for size in sizes
    ]
    table = Table(
        title="samples: opening, planning, resuming (CPU ms), first batch of "
        f"{_BATCH_SIZE} with build_loader, libraries loaded (wall s)",
        rows=[_row(cost) for cost in costs],
    )
    return table, [bar for cost in costs for bar in bars_of(cost)]


def bars_of(cost: SizeCost) -> list[Bar]:
    """What one size has to reach."""
    of = f"at {cost.num_samples:.0e} samples"
    # The last window of an epoch is a smaller one as a rule: its end may well be cheaper.
    cpu_ms = max(place.cpu_ms for place in cost.resume.values())
    reads = [place.num_reads for place in cost.resume.values()]
    first = max(cost.first_batch_seconds.values())
    return [
        Bar(name=f"first batch {of}", value=first, limit=FIRST_BATCH_SECONDS, unit="s"),
        Bar(
            name=f"plan memory {of}",
            value=cost.plan_peak_bytes / cost.num_samples,
            limit=PLAN_BYTES_A_SAMPLE + 64e3 / cost.num_samples,
            unit="bytes a sample",
        ),
        Bar(name=f"resume CPU, worst place to the epoch's start, {of}",
            value=cpu_ms / cost.resume["start"].cpu_ms, limit=RESUME_RATIO),
        Bar(name=f"resume reads, most {of}", value=max(reads), limit=3 * _BATCH_SIZE + 1),
    ]  # fmt: skip


def _row(cost: SizeCost) -> dict[str, str | int | float]:
    return {
        "samples": f"{cost.num_samples:.0e}",
        "manifest MB": cost.manifest_bytes / 1e6,
        "load ms": cost.manifest_ms,
        "held MB": cost.manifest_held_bytes / 1e6,
        "plan ms": cost.plan_ms,
        "plan MB": cost.plan_peak_bytes / 1e6,
        **{f"resume {place}": cost.resume[place].cpu_ms for place in PLACES},
        **{f"reads {place}": cost.resume[place].num_reads for place in PLACES},
        **{f"first {place}": cost.first_batch_seconds[place] for place in PLACES},
    }


def positions_of(num_samples: int) -> dict[str, int]:
    """Clips delivered before each place; at the end one batch is left."""
    num_batches = num_samples // _BATCH_SIZE
    batches = {"start": 0, "middle": num_batches // 2, "end": num_batches - 1}
    return {place: batch * _BATCH_SIZE for place, batch in batches.items()}


def resume_cost(root: Path, position: int) -> ResumeCost:
    """Everything but decoding, on this thread, so that reads and CPU time are exact."""
    start = time.process_time()
    store = CountedStore(root)
    entry = Manifest.load(store).split("train")
    reader, clip = ShardReader(store, entry), ClipConfig()
    config, items = LoaderConfig(batch_size=_BATCH_SIZE), split_items(reader, entry, clip)
    order = DatasetOrder(items, config=config, seed=config.seed)
    rank = RankTasks(order=order, config=config, world=WorldInfo())
    source = SampleSource(reader, clip=clip, seed=0)
    for task in next(rank.batches(EpochPlace(position=position))):
        source.fetch(task)
    return ResumeCost(num_reads=store.num_reads, cpu_ms=(time.process_time() - start) * 1e3)


def first_batch_seconds(root: Path, position: int) -> float:
    """From before build_loader to after the first batch at a place; wall time."""
    start = time.perf_counter()
    with build_loader(root, batch_size=_BATCH_SIZE) as loader:
        loader.load_state_dict(loader.state_dict() | {"position": position})
        next(iter(loader))
        return time.perf_counter() - start


def _plan(entry: SplitEntry) -> EpochPlan:
    config = LoaderConfig()
    return EpochPlan(
        [shard.num_samples for shard in entry.shards],
        seed=config.seed,
        epoch=0,
        shuffle=True,
        block_items=config.block_samples,
        window_blocks=config.shuffle_window_blocks,
    )


def _median_cpu_ms(work: Callable[[], object], rounds: int) -> float:
    spent: list[float] = []
    for _ in range(rounds):
        start = time.process_time()
        work()
        spent.append((time.process_time() - start) * 1e3)
    return statistics.median(spent)


def _traced(work: Callable[[], Result]) -> tuple[int, int]:
    """(bytes that the result holds, bytes at the peak)."""
    tracemalloc.start()
    try:
        result = work()
        held, peak = tracemalloc.get_traced_memory()
        del result
        return held, peak
    finally:
        tracemalloc.stop()
