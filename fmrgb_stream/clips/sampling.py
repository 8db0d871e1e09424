"""SampleInfo + ClipConfig -> ClipPlan: first a span of frames (window), then T of them (length).

Window rules find the span: `random`, `centre`, `start` take `num_frames` neighbouring grid frames
(fewer from a short sample); `uniform` takes the whole grid; `sliding` takes the grid inside one
time window. Length rules make `num_frames` of a span of L frames:

============= ========================================= =======================================
rule          L > T                                     L < T
============= ========================================= =======================================
subsample_pad every (L // T)-th, then the first T       padding frames, all planes 0
zoom          linear in time, first and last kept       linear in time, first and last kept
repeat_last   T evenly spaced (floor of linspace)       the last frame again
loop          T evenly spaced (floor of linspace)       from the start again
============= ========================================= =======================================

`num_valid_frames` is T where every frame is content, else L.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from fmrgb_stream.clips.timeline import TIME_SLACK_SECONDS, FrameGrid
from fmrgb_stream.config import ClipConfig
from fmrgb_stream.errors import ConfigError
from fmrgb_stream.sample import ClipPlan, SampleInfo

if TYPE_CHECKING:
    from numpy.typing import NDArray


def plan_clip(
    info: SampleInfo, clip: ClipConfig, *, uniform: float = 0.0, window_index: int = 0
) -> ClipPlan:
    """Choose the frames of one clip.

    `uniform` in [0, 1) decides where a `random` window starts, `window_index` which sliding window
    it is. Equal arguments give equal plans.

    Raises:
        ConfigError: the sample has no frames, or no such window.
    """
    if info.num_frames < 1:
        raise ConfigError(f"sample {info.key!r} has no frames to plan a clip from")
    times = info.times_seconds()
    grid = FrameGrid(times_seconds=times, frame_stride=clip.frame_stride, fps=clip.fps)
    span = _span(grid, clip, uniform=uniform, window_index=window_index)
    plan = _fit(span, clip)
    return _complete(grid, plan, clip)


def _span(
    grid: FrameGrid, clip: ClipConfig, *, uniform: float, window_index: int
) -> NDArray[np.int64]:
    stop = grid.leading(clip.fraction)
    if clip.window == "uniform":
        return grid.strided(0, stop)
    if clip.window == "sliding":
        return _sliding_span(grid, clip, stop, window_index)
    latest = grid.latest_start(clip.num_frames, stop)
    if latest < 0:
        return grid.strided(0, stop)
    first = {"random": int(uniform * (latest + 1)), "centre": latest // 2, "start": 0}[clip.window]
    return grid.strided(first, stop)[: clip.num_frames]


def _sliding_span(
    grid: FrameGrid, clip: ClipConfig, stop: int, window_index: int
) -> NDArray[np.int64]:
    if clip.window_seconds is None or clip.hop_seconds is None:
        raise ConfigError("window='sliding' needs window_seconds and hop_seconds")
    start_seconds = window_index * clip.hop_seconds - TIME_SLACK_SECONDS
    times = grid.times_seconds[:stop]
    bounds = np.array([start_seconds, start_seconds + clip.window_seconds])
    first, end = np.searchsorted(times, bounds)
    if first >= len(times) and window_index > 0:
        raise ConfigError(
            f"window {window_index} of {clip.window_seconds} s begins after the last frame, which "
            f"is at {times[-1]:.3f} s"
        )
    if first >= end:
        # No frame begins inside the window: the one before it is still shown.
        return np.array([max(first - 1, 0)], dtype=np.int64)
    return grid.strided(int(first), int(end))


def _fit(span: NDArray[np.int64], clip: ClipConfig) -> ClipPlan:
    """The length rule, before flow and times are known."""
    length, num_frames = len(span), clip.num_frames
    places = np.arange(num_frames)
    num_valid_frames = min(length, num_frames)
    weights = np.zeros(num_frames)
    if clip.length_rule == "zoom":
        exact = np.linspace(0, length - 1, num_frames)
        lower = np.floor(exact + TIME_SLACK_SECONDS).astype(np.int64)
        weights = np.maximum(exact - lower, 0.0)
        first, second = span[lower], span[np.minimum(lower + 1, length - 1)]
        num_valid_frames = num_frames
    else:
        if length > num_frames and clip.length_rule == "subsample_pad":
            first = span[:: length // num_frames][:num_frames]
        elif length > num_frames:
            first = span[np.linspace(0, length - 1, num_frames).astype(np.int64)]
        elif clip.length_rule == "loop":
            first = span[places % length]
        elif clip.length_rule == "repeat_last":
            first = span[np.minimum(places, length - 1)]
        else:
            first = np.where(places < length, span[np.minimum(places, length - 1)], -1)
        second = first
    return ClipPlan(
        frame_indices=first,
        blend_indices=second,
        blend_weights=weights,
        lead_index=-1,
        has_flow=np.ones(num_frames, dtype=np.bool_),
        times_seconds=np.zeros(num_frames),
        num_valid_frames=num_valid_frames,
    )


def _complete(grid: FrameGrid, plan: ClipPlan, clip: ClipConfig) -> ClipPlan:
    """Add the leading frame, where flow exists, and the times."""
    first, second, weights = plan.frame_indices, plan.blend_indices, plan.blend_weights
    is_padding = first < 0
    shown, valid = np.where(is_padding, 0, first), plan.num_valid_frames
    times = (1 - weights) * grid.times_seconds[shown] + weights * grid.times_seconds[second]
    if is_padding.any():
        step = (times[valid - 1] - times[0]) / (valid - 1) if valid > 1 else _grid_step(grid)
        times[valid:] = times[valid - 1] + step * np.arange(1, len(times) - valid + 1)
    lead_index = _lead(grid, plan)
    places = np.arange(len(first))
    has_flow = ~is_padding & (places < valid)
    if clip.length_rule == "loop":
        has_flow = places % valid != 0
    has_flow[0] = lead_index >= 0
    return ClipPlan(
        frame_indices=first,
        blend_indices=np.where(is_padding, -1, second),
        blend_weights=weights,
        lead_index=lead_index,
        has_flow=has_flow,
        times_seconds=times,
        num_valid_frames=valid,
    )


def _lead(grid: FrameGrid, plan: ClipPlan) -> int:
    """The frame as far before the first as the clip's frames are apart; -1 when there is none."""
    first, last = plan.frame_indices[0], plan.frame_indices[plan.num_valid_frames - 1]
    gaps = plan.num_valid_frames - 1
    if gaps == 0 or first == last:
        return grid.before(int(first))
    if grid.fps is None:
        nearest = math.floor(first - (last - first) / gaps + 0.5)
        # Frames closer than one apart (zoom of a short span): the one before, all the same.
        return max(min(nearest, int(first) - 1), -1)
    times = grid.times_seconds
    return grid.at(float(times[first] - (times[last] - times[first]) / gaps))


def _grid_step(grid: FrameGrid) -> float:
    """Seconds between two grid frames."""
    if grid.fps is not None:
        return 1 / grid.fps
    if len(grid.times_seconds) < 2:
        return 0.0
    return grid.frame_stride * float(np.median(np.diff(grid.times_seconds)))
