"""What each plane of a clip costs on one thread; benchmarks.scaling shows more workers.

Run: python -m benchmarks.clip_cost
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import torch

from benchmarks.generated import generated_samples, planned_clips
from benchmarks.timing import interleaved_ms, report
from fmrgb_stream.config import ClipConfig, FlowConfig
from fmrgb_stream.pipelines.counters import StageClock
from fmrgb_stream.pipelines.cpu.clip import ClipMaker
from fmrgb_stream.pipelines.cpu.layout import batch_layout
from fmrgb_stream.pipelines.cpu.order import WaveformSpan, choose_estimator
from fmrgb_stream.sample import PlannedClip


def make_all(clip: ClipConfig, clips: list[PlannedClip]) -> Callable[[], int]:
    """A contestant that makes every clip on this thread, keeping its decoders."""
    span = WaveformSpan.of(clip, nominal_fps=30, sample_rate=16000)
    maker = ClipMaker(
        clip,
        estimator=choose_estimator(clip.flow),
        video_decoder="auto",
        span=span,
        clock=StageClock(),
    )
    layout = batch_layout(clip, span, 1)
    arrays = layout.clip(np.empty(layout.num_bytes, np.uint8), 0)

    def run() -> int:
        for planned in clips:
            maker.make(planned, arrays)
        return len(clips)

    return run


def main() -> None:
    """Time single planes, and all together, on one thread."""
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
    title = "16 frames, stride 4, of 228x128 H.264 GOP 16 + FLAC 16 kHz, to uint8 [5,16,112,112]"
    report(title, interleaved_ms(contestants, rounds=arguments.rounds), arguments.json)


if __name__ == "__main__":
    main()
