"""A planned clip's sound -> its audio plane, and the extras made of sound.

Shape legend: T clip frames, H height, W width, M mel bands, S audio samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
import torchaudio
from torch import Tensor

from fmrgb_stream.channels import FULL_SCALE, audio_sample_at
from fmrgb_stream.config import ClipConfig, MelConfig
from fmrgb_stream.pipelines.audio_layout import AudioLayout, frame_layout, span_layout
from fmrgb_stream.pipelines.audio_planes import audio_planes, mel_image
from fmrgb_stream.pipelines.cpu.sound import SoundReader
from fmrgb_stream.pipelines.features import audio_features
from fmrgb_stream.pipelines.seed_planes import seed_mel_planes, seed_simple_values, seed_windows
from fmrgb_stream.sample import ClipPlan, PlannedClip, SampleInfo

if TYPE_CHECKING:
    from numpy.typing import NDArray


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


def audio_plane(
    sound: SoundReader, planned: PlannedClip, clip: ClipConfig
) -> NDArray[np.float32] | None:
    """float32 [T, H, W] in 0..1, or None when the plane is 0 (no sound, nothing but padding).

    Raises:
        DecodeError: the audio member cannot be decoded.
    """
    info, plan = planned.sample.info, planned.plan
    is_shown = plan.frame_indices >= 0
    if not info.has_audio or not is_shown.any():
        return None
    planes_THW = np.zeros((len(is_shown), *clip.size), np.float32)
    if clip.mel.seed_frequency_param is not None:
        planes_THW[is_shown] = _seed_plane(sound, info, plan, clip, clip.mel.seed_frequency_param)
        return planes_THW
    layout = frame_layout(
        plan.times_seconds[is_shown],
        width=clip.size[1],
        sample_rate=info.audio_sample_rate,
        config=clip.mel,
    )
    planes_THW[is_shown] = audio_planes(
        _stretches(sound, layout),
        layout,
        size=clip.size,
        sample_rate=info.audio_sample_rate,
        config=clip.mel,
    ).numpy()
    return planes_THW


def clip_mel_image(sound: SoundReader, planned: PlannedClip, clip: ClipConfig) -> NDArray[np.uint8]:
    """uint8 [M, W]: log-mel (dB re full scale) of the clip's whole sound, low band at the bottom.

    W is the clip's width; the span is from the first frame's window to the last frame's.

    Raises:
        DecodeError: the audio member cannot be decoded.
    """
    info, plan, width = planned.sample.info, planned.plan, clip.size[1]
    is_shown = plan.frame_indices >= 0
    if not info.has_audio or not is_shown.any():
        return np.zeros((clip.mel.num_mels, width), np.uint8)
    config: MelConfig = replace(clip.mel, method="mel", seed_frequency_param=None)
    layout = span_layout(
        plan.times_seconds[is_shown],
        width=width,
        sample_rate=info.audio_sample_rate,
        config=config,
    )
    image_MW = mel_image(
        _stretches(sound, layout), layout, sample_rate=info.audio_sample_rate, config=config
    )
    return image_MW.mul(FULL_SCALE).round().byte().numpy()


def clip_waveform(
    sound: SoundReader, planned: PlannedClip, span: WaveformSpan
) -> NDArray[np.float32]:
    """float32 [S] in -1..1 from the time of the clip's first frame on; 0 beyond the sample.

    Raises:
        DecodeError: the audio member cannot be decoded.
    """
    info, plan = planned.sample.info, planned.plan
    is_shown = plan.frame_indices >= 0
    if not info.has_audio or not is_shown.any():
        return np.zeros(span.num_samples, np.float32)
    rate = info.audio_sample_rate
    first = audio_sample_at(float(plan.times_seconds[is_shown].min()), rate)
    if rate == span.sample_rate:
        return sound.read(first, span.num_samples)
    # One second more, so that the resampling filter sees sound, not silence, at the end.
    stretch = torch.from_numpy(sound.read(first, round(span.duration_seconds * rate) + rate))  # pyright: ignore[reportUnknownMemberType]
    resampled = torchaudio.functional.resample(stretch, rate, span.sample_rate)
    return resampled[: span.num_samples].contiguous().numpy()


def clip_features(waveform_S: NDArray[np.float32], span: WaveformSpan) -> NDArray[np.float32]:
    """float32 [26] of the clip's waveform (see `features.py`)."""
    return audio_features(waveform_S, sample_rate=span.sample_rate)


def _stretches(sound: SoundReader, layout: AudioLayout) -> list[Tensor]:
    return [
        torch.from_numpy(sound.read(run.first_sample, run.num_samples))  # pyright: ignore[reportUnknownMemberType]
        for run in layout.runs
    ]


def _seed_plane(
    sound: SoundReader, info: SampleInfo, plan: ClipPlan, clip: ClipConfig, frequency_param: int
) -> NDArray[np.float32]:
    is_shown = plan.frame_indices >= 0
    windows_FP = seed_windows(
        sound.read(0, info.num_audio_samples),
        num_frames=info.num_frames,
        frequency_param=frequency_param,
    )
    rate = round(info.fps * frequency_param)
    first, second = plan.frame_indices[is_shown], plan.blend_indices[is_shown]
    wanted = np.unique(np.concatenate([first, second]))
    if clip.mel.method == "simple":
        values_F = seed_simple_values(windows_FP, sample_rate=rate)
        planes_NHW = np.broadcast_to(values_F[wanted, None, None], (len(wanted), *clip.size))
    else:
        planes_NHW = seed_mel_planes(windows_FP[wanted], sample_rate=rate, size=clip.size)
    places: Sequence[NDArray[np.int64]] = [np.searchsorted(wanted, x) for x in (first, second)]
    weights_T11 = plan.blend_weights[is_shown, None, None].astype(np.float32)
    before, after = (planes_NHW[place].astype(np.float32) for place in places)
    return np.divide(before + (after - before) * weights_T11, FULL_SCALE, dtype=np.float32)
