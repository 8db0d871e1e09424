"""Frame times -> frame indices: the strided frames of a sample, by index or by time."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

TIME_SLACK_SECONDS = 1e-6
"""Times are stored as float64 of rational numbers; this far apart they are the same."""


def nearest_frames(
    times_seconds: NDArray[np.float64], wanted_seconds: NDArray[np.float64]
) -> NDArray[np.int64]:
    """int64 [N]: for each wanted time the frame shown nearest to it (the earlier one of two).

    `times_seconds` is float64 [F], increasing; `wanted_seconds` float64 [N].
    """
    after = np.searchsorted(times_seconds, wanted_seconds).clip(1, max(len(times_seconds) - 1, 1))
    if len(times_seconds) == 1:
        return np.zeros(len(wanted_seconds), dtype=np.int64)
    gap_before = wanted_seconds - times_seconds[after - 1]
    gap_after = times_seconds[after] - wanted_seconds
    return np.where(gap_before <= gap_after + TIME_SLACK_SECONDS, after - 1, after).astype(np.int64)


def kept_count(count: int, fraction: float) -> int:
    """How many of `count` frames are the leading `fraction`, halves down, at least 1.

    25, 51 and 77 frames give 20/12, 41/25 and 62/38 for 0.8/0.5, as in the S3 experiments.
    """
    return max(1, math.ceil(count * fraction - 0.5))


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameGrid:
    """How a sample's frames are thinned: every `frame_stride`-th, or at `fps` by time."""

    times_seconds: NDArray[np.float64]
    """float64 [F]: presentation times of the sample's frames."""
    frame_stride: int
    fps: float | None

    def strided(self, first: int, stop: int) -> NDArray[np.int64]:
        """Frame indices of the grid that begins at frame `first` and ends before `stop`."""
        if self.fps is None:
            return np.arange(first, stop, self.frame_stride, dtype=np.int64)
        start, end = self.times_seconds[first], self.times_seconds[stop - 1]
        count = math.floor((end - start) * self.fps + TIME_SLACK_SECONDS * self.fps) + 1
        return nearest_frames(self.times_seconds, start + np.arange(count) / self.fps)

    def before(self, frame: int) -> int:
        """The frame one grid step before a frame, or -1 when the sample begins later."""
        if self.fps is None:
            return max(frame - self.frame_stride, -1)
        return self.at(float(self.times_seconds[frame] - 1 / self.fps))

    def around(self, centre: int, num_frames: int) -> NDArray[np.int64]:
        """int64 [num_frames]: the grid with frame `centre` at place `num_frames // 2`.

        Beyond the ends of the sample its first and its last frame repeat.
        """
        steps = np.arange(num_frames, dtype=np.int64) - num_frames // 2
        if self.fps is not None:
            return nearest_frames(self.times_seconds, self.times_seconds[centre] + steps / self.fps)
        return (centre + steps * self.frame_stride).clip(0, len(self.times_seconds) - 1)

    def at(self, time_seconds: float) -> int:
        """The frame nearest to a time, or -1 for a time before the first frame."""
        if time_seconds < self.times_seconds[0] - TIME_SLACK_SECONDS:
            return -1
        return int(nearest_frames(self.times_seconds, np.array([time_seconds]))[0])

    def latest_start(self, num_frames: int, stop: int) -> int:
        """The last frame from which `num_frames` grid frames end before `stop`; -1 if none."""
        if self.fps is None:
            return max(stop - 1 - (num_frames - 1) * self.frame_stride, -1)
        time = self.times_seconds[stop - 1] - (num_frames - 1) / self.fps
        return int(np.searchsorted(self.times_seconds, time + TIME_SLACK_SECONDS, "right")) - 1

    def leading(self, fraction: float) -> int:
        """How many frames of the sample hold the leading `fraction` of its grid."""
        num_frames = len(self.times_seconds)
        if fraction == 1.0:
            return num_frames
        grid = self.strided(0, num_frames)
        kept = kept_count(len(grid), fraction)
        return num_frames if kept == len(grid) else int(grid[kept - 1]) + 1
