"""SampleInfo + ClipConfig -> ClipPlan: first a span of frames (window), then T of them (length).

Window rules find the span: `random`, `centre`, `start` take `num_frames` neighbouring grid frames
(fewer from a short sample); `uniform` takes the whole grid; `sliding` takes the grid inside one
time window; `around` takes `num_frames` grid frames about one frame, the ends repeated. Length rules make `num_frames` of a span of L frames:

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
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fmrgb_stream.clips.timeline import TIME_SLACK_SECONDS, FrameGrid, nearest_frames
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
    return _complete(grid, _fit(span, clip), clip)


def _span(
    grid: FrameGrid, clip: ClipConfig, *, uniform: float, window_index: int
) -> NDArray[np.int64]:
    stop = grid.leading(clip.fraction)
    if clip.window == "uniform":
        return grid.strided(0, stop)
    if clip.window == "sliding":
        return _sliding_span(grid, clip, stop, window_index)
    if clip.window == "around":
        return grid.around(_centre(grid, clip, window_index), clip.num_frames)
    latest = grid.latest_start(clip.num_frames, stop)
    if latest < 0:
        return grid.strided(0, stop)
    first = {"random": int(uniform * (latest + 1)), "centre": latest // 2, "start": 0}[clip.window]
    if clip.fps is None:
        stop = first + (clip.num_frames - 1) * clip.frame_stride + 1
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


def _centre(grid: FrameGrid, clip: ClipConfig, window_index: int) -> int:
    """The frame that a window of the rule `around` is centred on."""
    times = grid.times_seconds
    if clip.hop_seconds is None and window_index < len(times):
        return window_index
    seconds = window_index * (clip.hop_seconds or 0.0)
    if clip.hop_seconds is None or (window_index and seconds > times[-1] + _frame_seconds(times)):
        raise ConfigError(
            f"window {window_index} is centred behind the last of {len(times)} frames"
        )
    return int(nearest_frames(times, np.array([seconds]))[0])


@dataclass(frozen=True, slots=True)
class _Fitted:
    """What the length rule makes of a span, before flow and times are known."""

    first: NDArray[np.int64]
    """int64 [T]: the frame shown; for padding the span's last frame stands in."""
    second: NDArray[np.int64]
    """int64 [T]: the frame blended in; the same array as `first` without blends."""
    weights: NDArray[np.float64]
    num_valid_frames: int
    num_padding_frames: int = 0


def _fit(span: NDArray[np.int64], clip: ClipConfig) -> _Fitted:
    """The length rule."""
    length, num_frames = len(span), clip.num_frames
    if clip.length_rule == "zoom":
        exact = np.linspace(0, length - 1, num_frames)
        lower = np.floor(exact + TIME_SLACK_SECONDS).astype(np.int64)
        weights = np.maximum(exact - lower, 0.0)
        return _Fitted(span[lower], span[np.minimum(lower + 1, length - 1)], weights, num_frames)
    num_padding = 0
    if length == num_frames:
        shown = span
    elif length > num_frames and clip.length_rule == "subsample_pad":
        shown = span[:: length // num_frames][:num_frames]
    elif length > num_frames:
        shown = span[np.linspace(0, length - 1, num_frames).astype(np.int64)]
    elif clip.length_rule == "loop":
        shown = span[np.arange(num_frames) % length]
    else:
        shown = span[np.minimum(np.arange(num_frames), length - 1)]
        num_padding = num_frames - length if clip.length_rule == "subsample_pad" else 0
    return _Fitted(shown, shown, np.zeros(num_frames), min(length, num_frames), num_padding)


def _complete(grid: FrameGrid, fitted: _Fitted, clip: ClipConfig) -> ClipPlan:
    """Add the leading frame, where flow exists, and the times; mark the padding."""
    first, second, valid = fitted.first, fitted.second, fitted.num_valid_frames
    times = grid.times_seconds[first]
    if second is not first:
        times = (1 - fitted.weights) * times + fitted.weights * grid.times_seconds[second]
    around = clip.window == "around"
    lead_index = grid.before(int(first[0])) if around else _lead(grid, fitted)
    if around:
        # A frame has not moved since it was shown last.
        has_flow = np.append(False, np.diff(first) > 0)
    elif clip.length_rule == "loop":
        has_flow = np.arange(len(first)) % valid != 0
    else:
        has_flow = np.ones(len(first), dtype=np.bool_)
        has_flow[valid:] = False
    has_flow[0] = lead_index >= 0
    if fitted.num_padding_frames:
        step = (times[valid - 1] - times[0]) / (valid - 1) if valid > 1 else _grid_step(grid)
        times[valid:] = times[valid - 1] + step * np.arange(1, len(times) - valid + 1)
        first[valid:] = -1
    return ClipPlan(
        frame_indices=first,
        blend_indices=second,
        blend_weights=fitted.weights,
        lead_index=lead_index,
        has_flow=has_flow,
        times_seconds=times,
        num_valid_frames=valid,
    )


def _lead(grid: FrameGrid, fitted: _Fitted) -> int:
    """The frame as far before the first as the clip's frames are apart; -1 when there is none."""
    first, last = int(fitted.first[0]), int(fitted.first[fitted.num_valid_frames - 1])
    gaps = fitted.num_valid_frames - 1
    if gaps == 0 or first == last:
        return grid.before(first)
    if grid.fps is None:
        nearest = math.floor(first - (last - first) / gaps + 0.5)
        # Frames closer than one apart (zoom of a short span): the one before, all the same.
        return max(min(nearest, first - 1), -1)
    times = grid.times_seconds
    return grid.at(float(times[first] - (times[last] - times[first]) / gaps))


def _grid_step(grid: FrameGrid) -> float:
    """Seconds between two grid frames."""
    if grid.fps is not None:
        return 1 / grid.fps
    return grid.frame_stride * _frame_seconds(grid.times_seconds)


def _frame_seconds(times_seconds: NDArray[np.float64]) -> float:
    """Seconds from one frame to the next."""
    return float(np.median(np.diff(times_seconds))) if len(times_seconds) > 1 else 0.0
