"""What a worker has to know to make clips. Light to import, and can be sent to another process."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from fmrgb_stream.config import ClipConfig, FlowConfig, VideoDecoder
from fmrgb_stream.errors import ConfigError
from fmrgb_stream.pipelines.base import ClipSource

CpuFlowEstimator = Literal["dis", "lucas_kanade"]


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


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkOrder:
    """The settings of all clips of a run."""

    source: ClipSource
    """Gives the planned clips; one copy a process, shared by the threads of one."""
    clip: ClipConfig
    estimator: CpuFlowEstimator
    video_decoder: VideoDecoder
    span: WaveformSpan
    substitutes: bool
    """Whether a neighbour stands in for a bad sample."""


def choose_estimator(config: FlowConfig) -> CpuFlowEstimator:
    """The estimator the CPU pipeline uses for this setting.

    Raises:
        ConfigError: the estimator needs another pipeline.
    """
    match config.estimator:
        case "auto" | "dis":
            return "dis"
        case "lucas_kanade":
            return "lucas_kanade"
        case "nvof" | "member":
            raise ConfigError(
                f"flow.estimator={config.estimator!r} does not run on the CPU pipeline; "
                "use 'auto', 'dis' or 'lucas_kanade', or the GPU pipeline"
            )
