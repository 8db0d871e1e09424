"""What the sound of a clip costs: each step's processor time on one thread, by each way to do it.

Run: python -m benchmarks.audio_cost
"""

from __future__ import annotations

import argparse
import io
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import soundfile
import torch

from benchmarks.generated import generated_samples, planned_clips
from benchmarks.timing import report
from fmrgb_stream.clips.flac import add_seek_table
from fmrgb_stream.config import ClipConfig
from fmrgb_stream.pipelines.audio_layout import AudioLayout, frame_layout
from fmrgb_stream.pipelines.audio_planes import audio_planes
from fmrgb_stream.pipelines.cpu.band_plane import write_band_plane
from fmrgb_stream.pipelines.cpu.flac import FlacDecoder
from fmrgb_stream.pipelines.cpu.mel import write_audio_plane
from fmrgb_stream.pipelines.cpu.sound import SoundReader
from fmrgb_stream.sample import PlannedClip

if TYPE_CHECKING:
    from numpy.typing import NDArray

CLIP = ClipConfig(channels="mel")
CLIPS_A_ROUND = 40


def with_seek_points(planned: PlannedClip) -> PlannedClip:
    """The same clip, its sound as `fmrgb pack` writes it."""
    assert planned.sample.audio is not None
    audio = memoryview(add_seek_table(bytes(planned.sample.audio)))
    return replace(planned, sample=replace(planned.sample, audio=audio))


def layout_of(planned: PlannedClip) -> AudioLayout:
    """What the clip's plane reads."""
    return frame_layout(
        planned.plan.times_seconds,
        width=CLIP.size[1],
        sample_rate=planned.sample.info.audio_sample_rate,
        config=CLIP.mel,
    )


def read(planned: PlannedClip, decoder: FlacDecoder) -> list[NDArray[np.float32]]:
    """The clip's stretches of sound."""
    with SoundReader(planned.sample, decoder) as sound:
        return [sound.read(x.first_sample, x.num_samples) for x in layout_of(planned).runs]


def read_by_libsndfile(planned: PlannedClip) -> None:
    """The part of the clip's sound that the file has."""
    assert planned.sample.audio is not None
    with soundfile.SoundFile(io.BytesIO(planned.sample.audio)) as file:
        for run in layout_of(planned).runs:
            first, stop = max(0, run.first_sample), run.first_sample + run.num_samples
            file.seek(first)
            file.read(stop - first, dtype="float32")


def steps(clips: list[PlannedClip]) -> dict[str, list[Callable[[], object]]]:
    """For each step, one call a clip."""
    decoder = FlacDecoder()
    rate = clips[0].sample.info.audio_sample_rate
    plane_THW = np.empty((CLIP.num_frames, *CLIP.size), np.uint8)
    inputs = [(read(clip, decoder), layout_of(clip)) for clip in clips]

    def torch_plane(stretches: list[NDArray[np.float32]], layout: AudioLayout) -> None:
        tensors = [torch.from_numpy(x) for x in stretches]  # pyright: ignore[reportUnknownMemberType]
        values = audio_planes(tensors, layout, size=CLIP.size, sample_rate=rate, config=CLIP.mel)
        np.rint(values.numpy() * np.float32(255), out=plane_THW, casting="unsafe")

    def band_plane(stretches: list[NDArray[np.float32]], layout: AudioLayout) -> None:
        write_band_plane(stretches, layout, plane_THW, sample_rate=rate, config=CLIP.mel)

    def whole(clip: PlannedClip) -> None:
        with SoundReader(clip.sample, decoder) as sound:
            write_audio_plane(sound, clip, CLIP, plane_THW)

    packed = [with_seek_points(clip) for clip in clips]
    return {
        "layout": [lambda x=x: layout_of(x) for x in clips],
        "read: libsndfile": [lambda x=x: read_by_libsndfile(x) for x in clips],
        "read: blocks, searched": [lambda x=x: read(x, decoder) for x in clips],
        "read: blocks, seek table": [lambda x=x: read(x, decoder) for x in packed],
        "plane: torch, then uint8": [lambda x=x: torch_plane(*x) for x in inputs],
        "plane: as the pipeline does": [lambda x=x: band_plane(*x) for x in inputs],
        "whole: FLAC to uint8 plane": [lambda x=x: whole(x) for x in packed],
    }


def main() -> None:
    """Time every step in turn, many rounds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", type=Path, default=None, help="also write the table here")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    contestants = steps(planned_clips(generated_samples(arguments.samples), CLIP))
    spent: dict[str, list[float]] = {name: [] for name in contestants}
    for round_index in range(arguments.rounds + 1):
        for name in list(contestants)[:: -1 if round_index % 2 else 1]:
            calls = contestants[name]
            start = time.process_time()
            for k in range(CLIPS_A_ROUND):
                calls[k % len(calls)]()
            if round_index:
                spent[name].append((time.process_time() - start) * 1e3 / CLIPS_A_ROUND)
    title = "CPU time: 16 frames, stride 4, FLAC 16 kHz of 6 s, to uint8 [16,112,112]"
    report(title, spent, arguments.json)


if __name__ == "__main__":
    main()
