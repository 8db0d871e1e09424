"""What each stage of a clip costs on one thread, and what more threads bring.

Run: python -m benchmarks.clip_cost
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import torch

from benchmarks.generated import generated_samples, planned_clips
from benchmarks.timing import interleaved_ms, report
from fmrgb_stream.config import ClipConfig, FlowConfig
from fmrgb_stream.distributed import usable_cores
from fmrgb_stream.pipelines.cpu.clip import ClipMaker
from fmrgb_stream.pipelines.cpu.counters import Counters
from fmrgb_stream.pipelines.cpu.flow import choose_estimator
from fmrgb_stream.pipelines.cpu.mel import WaveformSpan
from fmrgb_stream.pipelines.cpu.pipeline import CpuPipeline
from fmrgb_stream.pipelines.quarantine import Quarantine
from fmrgb_stream.sample import ClipTask, PlannedClip

BATCH_SIZE = 8


class PlannedSource:
    """A `ClipSource` whose clips are all planned and in memory."""

    def __init__(self, clips: list[PlannedClip]) -> None:
        """Keep the clips."""
        self.clips = clips

    def fetch(self, task: ClipTask) -> PlannedClip:
        """The clip of this task."""
        return self.clips[task.sample_id]

    def neighbour(self, task: ClipTask, attempt: int) -> ClipTask:
        """The next clip."""
        return replace(task, sample_id=(task.sample_id + attempt) % len(self.clips))

    def describe(self, task: ClipTask) -> tuple[str, str]:
        """Where the clip's sample is."""
        sample = self.clips[task.sample_id].sample
        return sample.shard_url, sample.info.key


def make_all(clip: ClipConfig, clips: list[PlannedClip]) -> Callable[[], int]:
    """A contestant that makes every clip on this thread, keeping its decoders."""
    maker = ClipMaker(
        clip,
        estimator=choose_estimator(clip.flow),
        video_decoder="auto",
        span=WaveformSpan.of(clip, nominal_fps=30, sample_rate=16000),
        counters=Counters(),
    )
    planes = np.empty((len(clip.planes), clip.num_frames, *clip.size), clip.dtype)

    def run() -> int:
        for planned in clips:
            maker.make(planned, planes)
        return len(clips)

    return run


def run_pipeline(clip: ClipConfig, clips: list[PlannedClip], num_threads: int) -> int:
    """Make every clip twice through the pipeline; its threads start and end inside."""
    pipeline = CpuPipeline(
        PlannedSource(clips),
        clip=clip,
        num_threads=num_threads,
        prefetch_batches=3,
        quarantine=Quarantine("raise", max_bad_fraction=0, num_samples=len(clips)),
    )
    tasks = [planned.task for planned in clips] * 2
    batches = (tasks[i : i + BATCH_SIZE] for i in range(0, len(tasks), BATCH_SIZE))
    num_clips = sum(len(batch) for batch in pipeline.batches(batches))
    pipeline.close()
    return num_clips


def main() -> None:
    """Time single planes on one thread, then the pipeline with 1, 2, ... threads."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", type=Path, default=None, help="also write the table here")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    full = ClipConfig()
    clips = planned_clips(generated_samples(arguments.samples), full)
    lucas_kanade = FlowConfig(estimator="lucas_kanade")
    contestants: dict[str, Callable[[], int]] = {
        "rgb": make_all(replace(full, channels="rgb"), clips),
        "rgb + flow (dis)": make_all(replace(full, channels=("rgb", "flow")), clips),
        "rgb + flow (lucas_kanade)": make_all(
            replace(full, channels=("rgb", "flow"), flow=lucas_kanade), clips
        ),
        "mel": make_all(replace(full, channels="mel"), clips),
        "fmrgb": make_all(full, clips),
    }
    for num_threads in sorted({1, usable_cores(), usable_cores() + 1}):
        name = f"fmrgb, pipeline, {num_threads} threads"
        contestants[name] = partial(run_pipeline, full, clips, num_threads)
    title = "16 frames, stride 4, of 228x128 H.264 GOP 16 + FLAC 16 kHz, to uint8 [5,16,112,112]"
    report(title, interleaved_ms(contestants, rounds=arguments.rounds), arguments.json)


if __name__ == "__main__":
    main()
