"""What a probe finds in a media file: MediaProbe with its VideoProbe and AudioProbe."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, cast

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoProbe:
    """The video stream that counts: the first that is no cover art."""

    stream_index: int
    codec: str
    width: int
    """As stored, before rotation."""
    height: int
    sample_aspect_ratio: Fraction
    """Width over height of one stored pixel."""
    rotation_degrees: int
    """Counter-clockwise turn, 0, 90, 180 or 270, that shows the stored picture upright."""
    color_matrix: str
    color_range: str
    time_base: Fraction
    """Seconds a tick."""
    fps: Fraction
    """The exact rate, or for variable rate the grid that fits best."""
    is_constant_rate: bool
    num_frames: int
    first_tick: int
    ticks: NDArray[np.int64] | None
    """int64 [F], presentation order; None for constant rate."""

    def frame_times_seconds(self, first: int = 0, end: int | None = None) -> NDArray[np.float64]:
        """Presentation times on the container's clock, increasing.

        float64 [F], or of the frames from `first` up to, not including, `end`.
        """
        end = self.num_frames if end is None else min(end, self.num_frames)
        if self.ticks is not None:
            return self.ticks[first:end].astype(np.float64) * float(self.time_base)
        return self.start_seconds + np.arange(first, end, dtype=np.float64) / float(self.fps)

    @property
    def start_seconds(self) -> float:
        """The time of the first frame, on the container's clock."""
        return float(self.first_tick * self.time_base)

    @property
    def duration_seconds(self) -> float:
        """From the first frame to the end of the last."""
        last = float(self.frame_times_seconds(self.num_frames - 1)[0])
        return last - self.start_seconds + 1 / float(self.fps)


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioProbe:
    """The first audio stream."""

    stream_index: int
    codec: str
    sample_rate: int
    num_channels: int
    start_seconds: float
    """When the first decoded sample sounds, on the container's clock."""
    end_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaProbe:
    """What a file holds. At least one of `video` and `audio` is there."""

    format: str
    video: VideoProbe | None
    audio: AudioProbe | None
    warnings: tuple[str, ...] = ()
    """What a user should know although the file can be used."""

    @property
    def start_seconds(self) -> float:
        """The time of the first frame, or of the first sound without video."""
        if self.video is not None:
            return self.video.start_seconds
        return cast("AudioProbe", self.audio).start_seconds

    @property
    def duration_seconds(self) -> float:
        """From the first frame to the end of the last, or the length of the sound."""
        if self.video is not None:
            return self.video.duration_seconds
        audio = cast("AudioProbe", self.audio)
        return audio.end_seconds - audio.start_seconds
