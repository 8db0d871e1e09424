"""Clip settings -> how much sound the waveform of every clip holds. Pure maths."""

from __future__ import annotations

from dataclasses import dataclass

from fmrgb_stream.config import ClipConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class WaveformSpan:
    """How much sound the extras `waveform` and `audio_features` hold, the same for every clip."""

    duration_seconds: float
    sample_rate: int
    """Hz; the sound of samples with another rate is resampled."""

    @classmethod
    def of(cls, clip: ClipConfig, *, nominal_fps: float, sample_rate: int) -> WaveformSpan:
        """The nominal length of a clip, which depends on settings alone.

        `window_seconds` where windows slide, else num_frames / fps, else the strided frames at the
        dataset's `nominal_fps`. It starts at the clip's first frame and goes on for this long in
        real time, whatever the frame rate of the sample; silence follows the sample's end.
        """
        if clip.window_seconds is not None:
            seconds = clip.window_seconds
        elif clip.fps is not None:
            seconds = clip.num_frames / clip.fps
        else:
            seconds = clip.num_frames * clip.frame_stride / nominal_fps
        return cls(duration_seconds=seconds, sample_rate=sample_rate)

    @property
    def num_samples(self) -> int:
        """S."""
        return max(1, round(self.duration_seconds * self.sample_rate))
