"""A planned sample -> all that a packing process needs to make it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fmrgb_stream.clips.streams import AudioProbe, MediaProbe, VideoProbe
from fmrgb_stream.config import PackConfig
from fmrgb_stream.packing.plan import PackPlan, PlannedSample, frame_times
from fmrgb_stream.packing.sources import SourceItem

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One sample to make; small enough to travel to another process."""

    key: str
    group: str
    label: int | None
    item: SourceItem
    sha256: str
    container_format: str
    """FFmpeg's name of it."""
    video: VideoProbe | None
    """Without its ticks."""
    audio: AudioProbe | None
    times_seconds: NDArray[np.float64]
    """float64 [F]: its source frames, the first one at 0."""
    start_seconds: float
    """Of its first frame, on the container's clock."""
    offset_seconds: float
    """Of its first frame, from the first frame of the input."""
    duration_seconds: float
    is_cut: bool
    warnings: tuple[str, ...]
    companions: tuple[CompanionStretch, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CompanionStretch:
    """The frames of a flow video or matte that go with a sample's source frames."""

    kind: str
    path: Path
    video: VideoProbe
    """Without its ticks."""
    times_seconds: NDArray[np.float64]
    """float64 [F], on its own clock."""


def task_of(
    plan: PackPlan, sample: PlannedSample, *, classes: tuple[str, ...], config: PackConfig
) -> Task:
    """All that a process needs to make one sample."""
    probed = plan.inputs[sample.input_index]
    # One frame more than the sample's own, for when it ends.
    times = frame_times(probed.probe, config, first=sample.first, end=sample.end + 1)
    num_frames = sample.end - sample.first
    video = probed.probe.video
    label = probed.item.label
    return Task(
        key=sample.key,
        group=sample.group,
        label=None if label is None else classes.index(label),
        item=probed.item,
        sha256=probed.sha256,
        container_format=probed.probe.format,
        video=None if video is None else replace(video, ticks=None),
        audio=probed.probe.audio,
        times_seconds=times[:num_frames] - times[0],
        start_seconds=probed.probe.start_seconds + float(times[0]),
        offset_seconds=float(times[0]),
        duration_seconds=_duration(probed.probe, times, num_frames, config),
        is_cut=sample.is_cut,
        warnings=probed.probe.warnings,
        companions=tuple(
            CompanionStretch(
                kind=companion.kind,
                path=companion.path,
                video=replace(companion.video, ticks=None),
                times_seconds=companion.video.frame_times_seconds(sample.first, sample.end),
            )
            for companion in probed.companions
        ),
    )


def _duration(
    probe: MediaProbe, times: NDArray[np.float64], num_frames: int, config: PackConfig
) -> float:
    """Of a sample whose frames, and the one after them if there is one, are at `times`."""
    is_last = len(times) == num_frames
    if probe.video is None:
        rest = probe.duration_seconds - float(times[0])
        return rest if is_last else num_frames / config.virtual_fps
    if probe.video.is_constant_rate:
        return num_frames / float(probe.video.fps)
    # A frame is shown until the next one, but a gap at a cut is not handed from sample to sample.
    own = float(times[num_frames - 1] - times[0]) + 1 / float(probe.video.fps)
    if is_last:
        return own
    return min(float(times[-1] - times[0]), max(own, config.segment_seconds))
