"""A planned clip's sound -> its audio plane, and the extras made of sound.

Only audio planes other than `mel` and `stft` need torch, which a worker that makes none of them
does not load.

Shape legend: T clip frames, H height, W width, M mel bands, S audio samples.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import soxr

from fmrgb_stream.channels import FULL_SCALE, MEL, audio_sample_at
from fmrgb_stream.config import ClipConfig, MelConfig
from fmrgb_stream.pipelines.audio_layout import AudioLayout, frame_layout, span_layout
from fmrgb_stream.pipelines.cpu.band_plane import BAND_METHODS, band_image, write_band_plane
from fmrgb_stream.pipelines.cpu.order import WaveformSpan
from fmrgb_stream.pipelines.cpu.sound import SoundReader
from fmrgb_stream.pipelines.features import audio_features, load_librosa
from fmrgb_stream.sample import ClipPlan, PlannedClip, SampleInfo

if TYPE_CHECKING:
    from numpy.typing import NDArray


def load_libraries(clip: ClipConfig) -> None:
    """Load what the clip's sound needs beyond this module, once, before a worker is forked."""
    is_seed = clip.mel.seed_frequency_param is not None
    if MEL in clip.planes and (is_seed or clip.mel.method not in BAND_METHODS):
        for module in ("audio_planes", "seed_planes"):
            importlib.import_module(f"fmrgb_stream.pipelines.{module}")
    if "audio_features" in clip.extras:
        load_librosa()


def write_audio_plane(
    sound: SoundReader,
    planned: PlannedClip,
    clip: ClipConfig,
    target_THW: NDArray[np.generic],
) -> None:
    """Write every value of the clip's audio plane: uint8 0..255, or float 0..1; 0 without sound.

    Raises:
        DecodeError: the audio member cannot be decoded.
    """
    is_shown = planned.plan.frame_indices >= 0
    if not planned.sample.info.has_audio or not is_shown.any():
        target_THW[...] = 0
    elif is_shown.all():
        _write_shown(sound, planned, clip, target_THW)
    else:
        shown_NHW = np.empty((int(is_shown.sum()), *clip.size), target_THW.dtype)
        _write_shown(sound, planned, clip, shown_NHW)
        target_THW[is_shown] = shown_NHW
        target_THW[~is_shown] = 0


def _write_shown(
    sound: SoundReader,
    planned: PlannedClip,
    clip: ClipConfig,
    target_NHW: NDArray[np.generic],
) -> None:
    """Write the planes of the frames that are not padding."""
    info, plan, mel = planned.sample.info, planned.plan, clip.mel
    if mel.seed_frequency_param is not None:
        values_NHW = _seed_plane(sound, info, plan, clip, mel.seed_frequency_param)
        _write_unit(values_NHW, target_NHW)
        return
    times = plan.times_seconds[plan.frame_indices >= 0]
    rate = info.audio_sample_rate
    layout = frame_layout(times, width=clip.size[1], sample_rate=rate, config=mel)
    stretches = _stretches(sound, layout)
    if mel.method in BAND_METHODS:
        write_band_plane(stretches, layout, target_NHW, sample_rate=rate, config=mel)
        return
    import torch

    from fmrgb_stream.pipelines.audio_planes import audio_planes

    tensors = [torch.from_numpy(stretch) for stretch in stretches]  # pyright: ignore[reportUnknownMemberType]
    values = audio_planes(tensors, layout, size=clip.size, sample_rate=rate, config=mel)
    _write_unit(values.numpy(), target_NHW)


def _write_unit(values_NHW: NDArray[np.float32], target_NHW: NDArray[np.generic]) -> None:
    if target_NHW.dtype == np.uint8:
        np.rint(values_NHW * np.float32(FULL_SCALE), out=target_NHW, casting="unsafe")
    else:
        target_NHW[...] = values_NHW


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
    stretches = _stretches(sound, layout)
    return band_image(stretches, layout, sample_rate=info.audio_sample_rate, config=config)


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
    stretch = sound.read(first, round(span.duration_seconds * rate) + rate)
    return soxr.resample(stretch, rate, span.sample_rate)[: span.num_samples]


def clip_features(waveform_S: NDArray[np.float32], span: WaveformSpan) -> NDArray[np.float32]:
    """float32 [26] of the clip's waveform (see `features.py`)."""
    return audio_features(waveform_S, sample_rate=span.sample_rate)


def _stretches(sound: SoundReader, layout: AudioLayout) -> list[NDArray[np.float32]]:
    return [sound.read(run.first_sample, run.num_samples) for run in layout.runs]


def _seed_plane(
    sound: SoundReader, info: SampleInfo, plan: ClipPlan, clip: ClipConfig, frequency_param: int
) -> NDArray[np.float32]:
    from fmrgb_stream.pipelines.seed_planes import (
        seed_mel_planes,
        seed_simple_values,
        seed_windows,
    )

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
