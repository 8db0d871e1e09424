"""Which video decoder makes a clip's pictures fastest: packets, pyav or decord?

Run: python -m benchmarks.decoders
"""

from __future__ import annotations

import argparse
import importlib.util
from collections.abc import Callable
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from benchmarks.generated import generated_samples, planned_clips
from benchmarks.timing import interleaved_ms, report
from fmrgb_stream.config import ClipConfig, VideoDecoder
from fmrgb_stream.pipelines.cpu.video import VideoReader
from fmrgb_stream.sample import PlannedClip


def decode_all(reader: VideoReader, clips: list[PlannedClip]) -> int:
    """Decode and resize every clip's frames with one reader; the number of clips."""
    for clip in clips:
        reader.pictures(clip.sample, np.unique(clip.plan.frame_indices).tolist())
    return len(clips)


def main() -> None:
    """Time the decoders on generated samples."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", type=Path, default=None, help="also write the table here")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    clip = ClipConfig()
    clips = planned_clips(generated_samples(arguments.samples), clip)
    decoders: list[VideoDecoder] = ["packets", "pyav"]
    if importlib.util.find_spec("decord"):
        decoders.append("decord")
    contestants: dict[str, Callable[[], int]] = {
        name: partial(decode_all, VideoReader(name, size=clip.size), clips) for name in decoders
    }
    title = "16 frames, stride 4, of 228x128 H.264 GOP 16, to 112x112; one thread"
    report(title, interleaved_ms(contestants, rounds=arguments.rounds), arguments.json)


if __name__ == "__main__":
    main()
