"""A folder of sources -> what each stage of packing costs, on this thread."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.bars import Table
from fmrgb_stream.clips.packets import packet_table
from fmrgb_stream.config import PackConfig
from fmrgb_stream.packing.audio import cut_sound
from fmrgb_stream.packing.plan import ProbedInput, make_plan
from fmrgb_stream.packing.probing import ProbeJob, probe_file
from fmrgb_stream.packing.sources import list_source
from fmrgb_stream.packing.statistics import measure_channels
from fmrgb_stream.packing.task import task_of
from fmrgb_stream.packing.transcode import make_record
from fmrgb_stream.packing.workers import WorkerPool
from fmrgb_stream.shards import Manifest, SplitEntry
from fmrgb_stream.shards.writer import ShardWriter

_NUM_SOURCES = 8


class _Clock:
    """CPU seconds of this process by stage; stages may lie inside one another."""

    def __init__(self) -> None:
        self.spent = defaultdict[str, float](float)

    @contextmanager
    def stage(self, name: str) -> Generator[None]:
        start = time.process_time()
        yield
        self.spent[name] += time.process_time() - start


def stage_table(sources: Path, scratch: Path) -> Table:
    """Pack the first sources stage by stage."""
    scratch.mkdir(parents=True)
    config, clock = PackConfig(splits={"train": 1.0}), _Clock()
    listing = list_source(sources, parser=config.parser)
    items = listing.items[:_NUM_SOURCES]
    inputs: list[ProbedInput] = []
    for item in items:
        job = ProbeJob(path=item.path, max_pixels=2**26, max_duration_seconds=3600)
        with clock.stage("hash and probe"):
            result = probe_file(job)
        if result.probe is None:
            raise AssertionError(f"{item.path}: {result.reason}")
        inputs.append(ProbedInput(item=item, probe=result.probe, sha256=result.sha256))
    with clock.stage("plan"):
        plan = make_plan(inputs, classes=listing.classes, config=config)
    (shard,) = plan.shards
    writer = ShardWriter(scratch, shard.path)
    for sample in shard.samples:
        task = task_of(plan, sample, classes=listing.classes, config=config)
        with clock.stage("make the sample"):
            packed = make_record(task, config, scratch=scratch)
        if task.audio is None:
            raise AssertionError("all sources have sound")
        with clock.stage("  of it sound"):
            cut_sound(
                task.item.path,
                task.audio,
                start_seconds=task.start_seconds,
                duration_seconds=task.duration_seconds,
                sample_rate=config.audio_sample_rate,
            )
        with clock.stage("  of it packet table"):
            packet_table(packed.record.files["mp4"])
        with clock.stage("write the shard"):
            writer.add(packed.record)
    with clock.stage("write the shard"):
        entry = writer.finish({})
    manifest = Manifest(
        pack_config={"audio_sample_rate": config.audio_sample_rate},
        classes=listing.classes,
        target_names=(),
        splits={"train": SplitEntry(shards=(entry,), duration_seconds=1.0, num_groups=1)},
        channel_stats={},
    )
    with WorkerPool(1) as pool:
        measure_channels(scratch, manifest, max_clips=1, pool=pool)  # loads its libraries
        with clock.stage("channel statistics"):
            measure_channels(scratch, manifest, max_clips=_NUM_SOURCES, pool=pool)
    return Table(
        title=f"where packing's time goes: CPU ms a source, of {len(items)}",
        rows=[
            {"stage": name, "ms": seconds * 1e3 / len(items)}
            for name, seconds in clock.spent.items()
        ],
    )
