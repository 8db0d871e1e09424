"""Clip frame times -> which sound to transform, and where each pixel column reads it. Pure maths.

The spectrogram's columns lie on one grid for the whole sample: column c is centred on audio sample
c * hop. A clip computes the columns it needs, in runs, and a frame's plane reads between them at
its exact time, so nothing is rounded to the grid.

Shape legend: T frames, W pixel columns.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final

import numpy as np

from fmrgb_stream.config import MelConfig

if TYPE_CHECKING:
    from fmrgb_stream.sample import FloatArray

MIN_GAP_WINDOWS: Final = 1.0
"""Sound between two frames is skipped when it is longer than this many Fourier windows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnRun:
    """Consecutive spectrogram columns, and the stretch of sound they are made of."""

    first_column: int
    num_columns: int
    first_sample: int
    """Negative where the window of the first frames reaches before the sound: read as silence."""
    num_samples: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioLayout:
    """What to transform for a clip, and where its planes read the result."""

    runs: tuple[ColumnRun, ...]
    positions: FloatArray
    """float64 [T, W * k]: places between the columns of all runs put together; k points are
    averaged into one pixel column where that is wider than a spectrogram column."""
    points_per_pixel: int
    """k."""


def frame_layout(
    times_seconds: FloatArray,
    *,
    width: int,
    sample_rate: int,
    config: MelConfig,
    in_one_run: bool = False,
) -> AudioLayout:
    """The layout of one plane a frame: `window_seconds` centred on each time, `width` columns.

    With `in_one_run` the sound between frames is never skipped, however far they are apart.
    """
    return _layout(
        times_seconds - config.window_seconds / 2,
        config.window_seconds,
        width=width,
        sample_rate=sample_rate,
        config=config,
        in_one_run=in_one_run,
    )


def span_layout(
    times_seconds: FloatArray, *, width: int, sample_rate: int, config: MelConfig
) -> AudioLayout:
    """The layout of one picture of all windows of a clip, from the first's start to the last's end."""
    start = float(times_seconds.min()) - config.window_seconds / 2
    duration = float(times_seconds.max()) + config.window_seconds / 2 - start
    return _layout(np.array([start]), duration, width=width, sample_rate=sample_rate, config=config)


def _layout(
    starts_seconds: FloatArray,
    duration_seconds: float,
    *,
    width: int,
    sample_rate: int,
    config: MelConfig,
    in_one_run: bool = False,
) -> AudioLayout:
    columns_per_second = sample_rate / config.hop_length_samples
    points_per_pixel = max(1, math.ceil(duration_seconds * columns_per_second / width))
    offsets = _point_offsets(width * points_per_pixel, duration_seconds * columns_per_second)
    starts = starts_seconds * columns_per_second
    before, behind = float(offsets[0]), float(offsets[-1])
    # Plain numbers: for the few frames of a clip they cost less than arrays.
    spans = [(math.floor(x + before), math.floor(x + behind) + 1) for x in starts.tolist()]
    runs = _merge(spans, config, in_one_run=in_one_run)
    first = np.array([span[0] for span in spans])
    place = 0
    for run in runs:
        # A frame's columns all lie in the run that holds its first one.
        inside = (first >= run.first_column) & (first < run.first_column + run.num_columns)
        starts[inside] += place - run.first_column
        place += run.num_columns
    return AudioLayout(
        runs=tuple(runs),
        positions=starts[:, None] + offsets,
        points_per_pixel=points_per_pixel,
    )


@lru_cache(maxsize=16)
def _point_offsets(num_points: int, num_columns: float) -> FloatArray:
    """float64 [num_points]: the middles of equal parts of so many spectrogram columns."""
    return (np.arange(num_points) + 0.5) / num_points * num_columns


def _merge(
    spans: Sequence[tuple[int, int]], config: MelConfig, *, in_one_run: bool
) -> list[ColumnRun]:
    gap = math.ceil(MIN_GAP_WINDOWS * config.n_fft / config.hop_length_samples)
    merged: list[tuple[int, int]] = []
    for first, last in sorted(spans):
        if merged and (in_one_run or first <= merged[-1][1] + gap):
            merged[-1] = (merged[-1][0], max(merged[-1][1], last))
        else:
            merged.append((first, last))
    return [
        ColumnRun(
            first_column=first,
            num_columns=last - first + 1,
            first_sample=first * config.hop_length_samples - config.n_fft // 2,
            num_samples=(last - first) * config.hop_length_samples + config.n_fft,
        )
        for first, last in merged
    ]
