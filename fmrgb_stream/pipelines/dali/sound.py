"""A planned clip -> its sound, decoded on the host: what spectra are made of, and the extras.

DALI decodes FLAC on the CPU only, always the whole file, and says nothing of some damage. The host's
reader decodes the blocks that a clip needs and checks them, so both pipelines hear the same and agree
on which samples are bad.

Shape legend: S audio samples.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from fmrgb_stream.channels import audio_sample_at
from fmrgb_stream.errors import ConfigError
from fmrgb_stream.pipelines.audio_layout import AudioLayout, ColumnRun, frame_layout, span_layout
from fmrgb_stream.pipelines.base import SoundDecoder
from fmrgb_stream.pipelines.dali.settings import GraphSettings
from fmrgb_stream.pipelines.features import audio_features
from fmrgb_stream.sample import EncodedSample, PlannedClip

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class SoundPlaces:
    """Where a clip's planes read the spectrum that the graph makes of its stretch of sound."""

    frames: AudioLayout
    """For the frames that are shown."""
    whole: AudioLayout | None
    """For the extra `mel_image`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FedSound:
    """The sound of one clip."""

    stretch_S: NDArray[np.float32]
    """What the spectra are made of, one window at least."""
    places: SoundPlaces | None = None
    """None where the clip has no sound."""
    waveform_S: NDArray[np.float32] | None = None
    """The extra of that name, where it or `audio_features` is asked for."""
    features_F: NDArray[np.float32] | None = None


def read_sound(planned: PlannedClip, settings: GraphSettings, decoder: SoundDecoder) -> FedSound:
    """Decode what the clip needs of its sample's sound.

    Raises:
        DecodeError: the sound is not what the index says, or broken where the clip needs it.
        ConfigError: it has another rate than the dataset's.
    """
    sample, plan = planned.sample, planned.plan
    has_sound = sample.info.has_audio and bool((plan.frame_indices >= 0).any())
    if has_sound:
        _check_rate(sample, settings)
    # Also where nothing of it is wanted: that opens the member and compares it with the index.
    found = FedSound(stretch_S=_silence(settings.clip.mel.n_fft))
    if has_sound and settings.has_spectra:
        found = _stretch(planned, settings, decoder)
    else:
        decoder.stretches(sample, [])
    if not settings.has_waveform:
        return found
    waveform_S = np.zeros(settings.span.num_samples, np.float32)
    if has_sound:
        start_seconds = float(plan.times_seconds[plan.frame_indices >= 0].min())
        first = audio_sample_at(start_seconds, settings.span.sample_rate)
        (waveform_S,) = decoder.stretches(sample, [(first, settings.span.num_samples)])
    features_F = None
    if "audio_features" in settings.clip.extras:
        features_F = audio_features(waveform_S, sample_rate=settings.span.sample_rate)
    return replace(found, waveform_S=waveform_S, features_F=features_F)


def _stretch(planned: PlannedClip, settings: GraphSettings, decoder: SoundDecoder) -> FedSound:
    """One stretch from the first column that is read to the last; silence between what is needed."""
    mel, rate, width = settings.clip.mel, settings.span.sample_rate, settings.clip.size[1]
    times = planned.plan.times_seconds[planned.plan.frame_indices >= 0]
    runs: list[ColumnRun] = []
    layouts: list[AudioLayout] = []
    if settings.has_bands:
        layout = frame_layout(times, width=width, sample_rate=rate, config=mel)
        runs += layout.runs
        if len(layout.runs) > 1:
            layout = frame_layout(times, width=width, sample_rate=rate, config=mel, in_one_run=True)
        layouts.append(layout)
    if settings.has_mel_image:
        layouts.append(span_layout(times, width=width, sample_rate=rate, config=mel))
        runs += layouts[-1].runs
    first = min(layout.runs[0].first_column for layout in layouts)
    stop = max(run.first_column + run.num_columns for run in (x.runs[0] for x in layouts))
    moved = [
        replace(layout, positions=layout.positions + (layout.runs[0].first_column - first))
        for layout in layouts
    ]
    base = first * mel.hop_length_samples - mel.n_fft // 2
    stretch_S = np.zeros((stop - first - 1) * mel.hop_length_samples + mel.n_fft, np.float32)
    wanted = [(run.first_sample, run.num_samples) for run in runs]
    parts = decoder.stretches(planned.sample, wanted)
    for (start, length), part in zip(wanted, parts, strict=True):
        stretch_S[start - base : start - base + length] = part
    whole = moved[-1] if settings.has_mel_image else None
    return FedSound(stretch_S=stretch_S, places=SoundPlaces(frames=moved[0], whole=whole))


def _check_rate(sample: EncodedSample, settings: GraphSettings) -> None:
    """Refuse sound of another rate than the dataset's: the graph's filters are made for one."""
    found, expected = sample.info.audio_sample_rate, settings.span.sample_rate
    if found != expected:
        raise ConfigError(
            f"sample {sample.info.key!r} of {sample.shard_url} has sound of {found} Hz, the dataset "
            f"{expected} Hz: the DALI pipeline needs one rate; use backend='cpu', or pack again"
        )


@lru_cache(maxsize=4)
def _silence(num_samples: int) -> NDArray[np.float32]:
    return np.zeros(num_samples, np.float32)
