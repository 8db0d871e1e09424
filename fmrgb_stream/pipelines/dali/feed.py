"""A planned clip -> the arrays that DALI is fed, and what is known of them afterwards.

Shape legend: N frames that are decoded, K frames in the order of the clip (lead, T shown, and with
blends T more), T clip frames, W pixel columns.
"""

from __future__ import annotations

import io
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import soundfile

from fmrgb_stream.channels import audio_sample_at
from fmrgb_stream.clips.cut import Cut
from fmrgb_stream.errors import ConfigError
from fmrgb_stream.pipelines.audio_layout import AudioLayout, frame_layout, span_layout
from fmrgb_stream.pipelines.dali.settings import GraphSettings
from fmrgb_stream.sample import ClipPlan, EncodedSample, PlannedClip

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fmrgb_stream.sample import IntArray

NOTHING: Final = np.zeros(1, np.uint8)
"""In the place of bytes that no operator looks at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One input of the graph: a list of arrays, one a clip."""

    name: str
    dtype: str
    """Numpy's and DALI's name of it."""
    ndim: int
    layout: str = ""


PICTURE_COLUMNS: Final = (
    Column(name="video", dtype="uint8", ndim=1),
    Column(name="frame_indices", dtype="int32", ndim=1),
    Column(name="is_encoded", dtype="bool", ndim=0),
    Column(name="pictures", dtype="uint8", ndim=4, layout="FHWC"),
    Column(name="order", dtype="int32", ndim=1),
)
AUDIO_COLUMN: Final = Column(name="audio", dtype="uint8", ndim=1)
SPECTRUM_COLUMNS: Final = (
    Column(name="audio_first", dtype="int32", ndim=1),
    Column(name="audio_length", dtype="int32", ndim=1),
)
WAVEFORM_COLUMN: Final = Column(name="waveform_first", dtype="int32", ndim=1)
SERIAL_COLUMN: Final = Column(name="serial", dtype="int64", ndim=1)
"""The number of the batch, which comes out again with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SoundPlaces:
    """Where a clip's planes read the spectrum that the graph makes of its stretch of sound."""

    frames: AudioLayout
    """For the frames that are shown."""
    whole: AudioLayout | None
    """For the extra `mel_image`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FedClip:
    """One clip as it goes into the graph."""

    planned: PlannedClip
    arrays: dict[str, NDArray[Any]]
    """By column name."""
    sound: SoundPlaces | None
    """None where the clip has no sound, or none is asked for."""

    @property
    def is_encoded(self) -> bool:
        """Whether the graph decodes the video; else its pictures were decoded before."""
        return bool(self.arrays["is_encoded"]) if "is_encoded" in self.arrays else False


def columns_of(settings: GraphSettings) -> tuple[Column, ...]:
    """The inputs of a graph, in order. Each is used: DALI warns of one that is not."""
    return (
        *(PICTURE_COLUMNS if settings.has_pictures else ()),
        *((AUDIO_COLUMN,) if settings.has_sound else ()),
        *(SPECTRUM_COLUMNS if settings.has_bands or settings.has_mel_image else ()),
        *((WAVEFORM_COLUMN,) if settings.has_waveform else ()),
        SERIAL_COLUMN,
    )


def wanted_frames(plan: ClipPlan, settings: GraphSettings) -> tuple[IntArray, IntArray]:
    """The frames to decode, int64 [N], each one once and rising; and [K], their order in the clip.

    A frame that is not there (no lead, padding) is held by the first one that is; it is not shown.
    """
    parts = [[plan.lead_index], plan.frame_indices]
    if settings.has_blends:
        parts.append(plan.blend_indices)
    listed = np.concatenate(parts).astype(np.int64)
    if not (listed >= 0).any():
        listed[:] = 0
    listed[listed < 0] = listed[listed >= 0][0]
    return np.unique(listed, return_inverse=True)


def feed_clip(
    planned: PlannedClip,
    settings: GraphSettings,
    *,
    cut: Cut | None,
    pictures_3NHW: NDArray[np.uint8] | None,
) -> FedClip:
    """The arrays of a clip.

    Args:
        planned: the clip.
        settings: of the graph.
        cut: the part of the video to decode instead of the whole.
        pictures_3NHW: uint8, the frames of `wanted_frames` where they are decoded already.
    """
    arrays: dict[str, NDArray[Any]] = {}
    if settings.has_pictures:
        arrays = _picture_arrays(planned, settings, cut, pictures_3NHW)
    sound = None
    if settings.has_sound:
        sound_arrays, sound = _sound_arrays(planned, settings)
        arrays |= sound_arrays
    return FedClip(planned=planned, arrays=arrays, sound=sound)


def _picture_arrays(
    planned: PlannedClip,
    settings: GraphSettings,
    cut: Cut | None,
    pictures_3NHW: NDArray[np.uint8] | None,
) -> dict[str, NDArray[Any]]:
    video = planned.sample.video
    wanted, order = wanted_frames(planned.plan, settings)
    if pictures_3NHW is not None:
        encoded, indices = NOTHING, wanted
        pictures_NHW3 = np.ascontiguousarray(pictures_3NHW.transpose(1, 2, 3, 0))
    elif video is None or not planned.sample.info.has_video:
        encoded, indices = NOTHING, wanted
        pictures_NHW3, order = np.zeros((1, *settings.clip.size, 3), np.uint8), np.zeros_like(order)
    else:
        encoded = np.frombuffer(video if cut is None else cut.content, np.uint8)
        indices = wanted if cut is None else cut.frame_indices
        pictures_NHW3 = np.zeros((1, 1, 1, 3), np.uint8)
    return {
        "video": encoded,
        "frame_indices": indices.astype(np.int32),
        "is_encoded": np.array(encoded is not NOTHING),
        "pictures": pictures_NHW3,
        "order": order.astype(np.int32).reshape(-1),
    }


def _sound_arrays(
    planned: PlannedClip, settings: GraphSettings
) -> tuple[dict[str, NDArray[Any]], SoundPlaces | None]:
    sample, plan, mel = planned.sample, planned.plan, settings.clip.mel
    is_shown = plan.frame_indices >= 0
    if not sample.info.has_audio or sample.audio is None or not is_shown.any():
        return _sound_columns(silence(settings.span.sample_rate), 0, mel.n_fft, 0), None
    check_rate(sample, settings)
    rate, width, times = settings.span.sample_rate, settings.clip.size[1], plan.times_seconds
    layouts = [
        frame_layout(times[is_shown], width=width, sample_rate=rate, config=mel, in_one_run=True)
    ]
    if settings.has_mel_image:
        layouts.append(span_layout(times[is_shown], width=width, sample_rate=rate, config=mel))
    first = min(layout.runs[0].first_column for layout in layouts)
    stop = max(run.first_column + run.num_columns for run in (x.runs[0] for x in layouts))
    moved = [
        replace(layout, positions=layout.positions + (layout.runs[0].first_column - first))
        for layout in layouts
    ]
    columns = _sound_columns(
        np.frombuffer(sample.audio, np.uint8),
        first * mel.hop_length_samples - mel.n_fft // 2,
        (stop - first - 1) * mel.hop_length_samples + mel.n_fft,
        audio_sample_at(float(times[is_shown].min()), rate),
    )
    whole = moved[1] if len(moved) > 1 else None
    return columns, SoundPlaces(frames=moved[0], whole=whole)


def check_rate(sample: EncodedSample, settings: GraphSettings) -> None:
    """Refuse sound of another rate than the dataset's: the graph's filters are made for one.

    Raises:
        ConfigError: names the sample.
    """
    found, expected = sample.info.audio_sample_rate, settings.span.sample_rate
    if found != expected:
        raise ConfigError(
            f"sample {sample.info.key!r} of {sample.shard_url} has sound of {found} Hz, the dataset "
            f"{expected} Hz: the DALI pipeline needs one rate; use backend='cpu', or pack again"
        )


def _sound_columns(
    audio: NDArray[np.uint8], first: int, length: int, waveform_first: int
) -> dict[str, NDArray[Any]]:
    numbers = {"audio_first": first, "audio_length": length, "waveform_first": waveform_first}
    return {
        "audio": audio,
        **{name: np.array([value], np.int32) for name, value in numbers.items()},
    }


@lru_cache(maxsize=4)
def silence(sample_rate: int) -> NDArray[np.uint8]:
    """A FLAC file of one silent sample, for clips without sound."""
    buffer = io.BytesIO()
    soundfile.write(buffer, np.zeros(1, np.int16), sample_rate, format="FLAC", subtype="PCM_16")
    return np.frombuffer(buffer.getvalue(), np.uint8)
