"""A sample of a dataset -> ClipView: the clip that a loader makes of it, with its sound.

Shape legend: C planes, T clip frames, H height, W width, M mel bands, S audio samples.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from fmrgb_stream.channels import audio_sample_at
from fmrgb_stream.clips.plain_sound import with_plain_sound
from fmrgb_stream.clips.source import SampleSource
from fmrgb_stream.config import ClipConfig
from fmrgb_stream.pipelines.cpu.alone import make_columns
from fmrgb_stream.pipelines.cpu.order import choose_estimator
from fmrgb_stream.pipelines.cpu.sound import SoundReader
from fmrgb_stream.sample import ClipTask

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fmrgb_stream.sample import EncodedSample, PlannedClip, SampleInfo
    from fmrgb_stream.shards import ShardReader


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipView:
    """One clip and what is heard with it. Times count from the first frame of the sample."""

    info: SampleInfo
    channels: tuple[str, ...]
    planes_CTHW: NDArray[np.uint8]
    frame_indices_T: NDArray[np.int64]
    """The source frame shown; -1 for padding."""
    times_seconds_T: NDArray[np.float64]
    num_valid_frames: int
    flow_estimator: str
    """Which one made the flow planes; empty without any."""
    mel_image_MW: NDArray[np.uint8] | None
    """Log-mel of the clip's whole sound, low band at the bottom; None without sound."""
    mel_start_seconds: float
    mel_seconds: float
    waveform_S: NDArray[np.float32]
    """The sound from the first frame to the end of the last; empty without sound."""
    waveform_start_seconds: float
    end_seconds: float
    """When the last frame gives way to the next of its rhythm, or the sample ends."""

    def plane(self, name: str) -> NDArray[np.uint8]:
        """uint8 [T, H, W] of one plane by name."""
        return self.planes_CTHW[self.channels.index(name)]


def view_clip(
    reader: ShardReader, sample_id: int, *, clip: ClipConfig, audio_sample_rate: int, seed: int = 0
) -> ClipView:
    """The first clip that a loader with these settings makes of a sample in epoch 0.

    Values are uint8 whatever `clip.dtype` says, so that they can be shown.

    Raises:
        ConfigError: the settings need another pipeline, or mel bands beyond the sound.
        SampleError, DatasetError, StorageError: the sample cannot be read or decoded.
    """
    info = reader.info(sample_id)
    shown = replace(clip, dtype="uint8", extras=("mel_image",) if info.has_audio else ())
    source = SampleSource(reader, clip=shown, seed=seed)
    task = ClipTask(sample_id=sample_id, window_index=0, epoch=0, is_padding=False)
    planned = source.fetch(task)
    rate = info.audio_sample_rate or audio_sample_rate
    made = make_columns([planned], clip=shown, audio_sample_rate=rate, nominal_fps=info.fps)
    arrays = next(made)
    made.close()
    planes_CTHW: NDArray[np.uint8] = arrays.planes_CTHW.astype(np.uint8, copy=False)
    plan = planned.plan
    times = plan.times_seconds[plan.frame_indices >= 0]
    start, end = float(times.min()), _end_seconds(planned)
    return ClipView(
        info=info,
        channels=shown.planes,
        planes_CTHW=planes_CTHW,
        frame_indices_T=plan.frame_indices,
        times_seconds_T=plan.times_seconds,
        num_valid_frames=plan.num_valid_frames,
        flow_estimator=choose_estimator(shown.flow) if shown.needs_flow else "",
        mel_image_MW=arrays.mel_image_MW,
        mel_start_seconds=start - shown.mel.window_seconds / 2,
        mel_seconds=float(times.max()) - start + shown.mel.window_seconds,
        waveform_S=_waveform(_with_sound_of(reader, planned, start, end), start, end),
        waveform_start_seconds=start,
        end_seconds=end,
    )


def _end_seconds(planned: PlannedClip) -> float:
    plan, info = planned.plan, planned.sample.info
    times = plan.times_seconds[plan.frame_indices >= 0]
    gaps = np.diff(np.unique(times))
    step = float(np.median(gaps)) if len(gaps) else 1 / info.fps
    last = float(times.max())
    return max(min(last + step, info.duration_seconds), last)


def _with_sound_of(
    reader: ShardReader, planned: PlannedClip, start: float, end: float
) -> EncodedSample:
    """The sample with all sound of the span; a clip of tars of others has what its mel needs."""
    sample = reader.read(planned.task.sample_id, with_video=False)
    return with_plain_sound(sample, (start, end))


def _waveform(sample: EncodedSample, start: float, end: float) -> NDArray[np.float32]:
    info = sample.info
    if not info.has_audio:
        return np.zeros(0, np.float32)
    first = audio_sample_at(start, info.audio_sample_rate)
    with SoundReader(sample) as sound:
        return sound.read(first, audio_sample_at(end, info.audio_sample_rate) - first)
