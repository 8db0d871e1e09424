"""Planned clips -> their planes, one after the other in this thread. Neither workers nor torch."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from fmrgb_stream.config import ClipConfig
from fmrgb_stream.pipelines.bands import check_mel_range
from fmrgb_stream.pipelines.counters import StageClock
from fmrgb_stream.pipelines.cpu.clip import ClipMaker
from fmrgb_stream.pipelines.cpu.layout import ClipArrays, batch_layout
from fmrgb_stream.pipelines.cpu.order import WaveformSpan, choose_estimator
from fmrgb_stream.sample import PlannedClip

if TYPE_CHECKING:
    from numpy.typing import NDArray


def make_clips(
    planned: Iterable[PlannedClip],
    *,
    clip: ClipConfig,
    audio_sample_rate: int,
    nominal_fps: float = 30.0,
) -> Generator[NDArray[Any]]:
    """The planes of each clip as a loader would deliver them: [C, T, H, W] of the clip's dtype.

    The array is the same one each time: its values are gone when the next clip is asked for.

    Raises:
        ConfigError: the settings need another pipeline, or mel bands beyond the sound.
        SampleError: a sample cannot be decoded.
    """
    made = make_columns(
        planned, clip=clip, audio_sample_rate=audio_sample_rate, nominal_fps=nominal_fps
    )
    for arrays in made:
        yield arrays.planes_CTHW


def make_columns(
    planned: Iterable[PlannedClip],
    *,
    clip: ClipConfig,
    audio_sample_rate: int,
    nominal_fps: float = 30.0,
) -> Generator[ClipArrays]:
    """The planes and extras of each clip, likewise in the same memory each time.

    Raises:
        ConfigError, SampleError: as `make_clips`.
    """
    if clip.needs_audio:
        check_mel_range(clip.mel, audio_sample_rate)
    span = WaveformSpan.of(clip, nominal_fps=nominal_fps, sample_rate=audio_sample_rate)
    maker = ClipMaker(
        clip,
        estimator=choose_estimator(clip.flow),
        video_decoder="auto",
        span=span,
        clock=StageClock(),
    )
    layout = batch_layout(clip, span, 1)
    arrays = layout.clip(np.zeros(layout.num_bytes, np.uint8), 0)
    # Flow differs a little with the number of threads; loaders use one.
    num_threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        for one in planned:
            maker.make(one, arrays)
            yield arrays
    finally:
        cv2.setNumThreads(num_threads)
