"""What a worker has to know to make clips. Light to import, and can be sent to another process."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from fmrgb_stream.config import ClipConfig, FlowConfig, VideoDecoder
from fmrgb_stream.errors import ConfigError
from fmrgb_stream.pipelines.base import ClipSource
from fmrgb_stream.pipelines.waveform_span import WaveformSpan

CpuFlowEstimator = Literal["dis", "lucas_kanade", "member"]


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
    reads_ahead: int = 0
    """Clips that a worker has fetched while it decodes others; 0 where reading takes no time."""
    read_ahead_bytes: int = 0
    """What they may take, in one worker."""


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
        case "member":
            return "member"
        case "nvof":
            raise ConfigError(
                "flow.estimator='nvof' does not run on the CPU pipeline; use 'auto', 'dis' or "
                "'lucas_kanade', or the GPU pipeline"
            )
