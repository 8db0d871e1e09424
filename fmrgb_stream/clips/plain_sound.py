"""A sample whose sound is of another maker's kind -> the same sample with plain mono WAV.

Shards of other makers hold sound as MP3, AAC, Opus, stereo WAV or inside the video. Cut, mixed and
resampled once, when the sample is read, it is what every pipeline expects, on CPU and GPU.
"""

from __future__ import annotations

import io
import math
import wave
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np
from av.error import FFmpegError

from fmrgb_stream.clips.media import main_streams, open_media
from fmrgb_stream.clips.sound import cut_waveform
from fmrgb_stream.clips.streams import AudioProbe
from fmrgb_stream.config import ClipConfig
from fmrgb_stream.errors import DecodeError, RejectedInput
from fmrgb_stream.sample import ClipPlan, EncodedSample

if TYPE_CHECKING:
    from numpy.typing import NDArray

_REACH_SECONDS: Final = 0.5
"""Beyond a frame's window: the transform's own length, and the resampler's."""


def with_plain_sound(
    sample: EncodedSample, span_seconds: tuple[float, float] | None = None
) -> EncodedSample:
    """The sample with 16-bit mono WAV at the index's rate, sample 0 at t = 0.

    A sample that is like that already, or was read without its sound, comes back as it is.

    Args:
        sample: as it was read.
        span_seconds: (from, until) of the sample that must be right; the rest may be silence, which
            saves decoding it. None is all.

    Raises:
        DecodeError: the sound cannot be decoded.
    """
    info = sample.info
    if info.sound_zero_seconds is None or sample.audio is None:
        return sample
    rate, content = info.audio_sample_rate, bytes(sample.audio)
    whole = info.num_audio_samples / rate
    first, until = span_seconds or (0.0, whole)
    # Whole seconds are whole samples at any rate, so a part has the samples that all of it has.
    first, until = float(max(0, math.floor(first))), min(whole, float(math.ceil(until)))
    samples = np.zeros(info.num_audio_samples, np.float32)
    if until > first:
        part = _decode(sample, content, info.sound_zero_seconds + first, until - first)
        start = round(first * rate)
        samples[start : start + len(part)] = part[: len(samples) - start]
    plain = memoryview(to_wav(samples, rate))
    return replace(sample, info=replace(info, sound_zero_seconds=None), audio=plain)


def needed_span(plan: ClipPlan, clip: ClipConfig) -> tuple[float, float] | None:
    """The part of a sample's sound that a clip is made of; None is all of it."""
    if clip.mel.seed_frequency_param is not None or {"waveform", "audio_features"} & {*clip.extras}:
        return None
    reach = clip.mel.window_seconds + _REACH_SECONDS
    return float(plan.times_seconds.min()) - reach, float(plan.times_seconds.max()) + reach


def _decode(
    sample: EncodedSample, content: bytes, start_seconds: float, duration_seconds: float
) -> NDArray[np.float32]:
    try:
        cut = cut_waveform(
            content,
            sound_track(content),
            start_seconds=start_seconds,
            duration_seconds=duration_seconds,
            sample_rate=sample.info.audio_sample_rate,
        )
    except RejectedInput as error:
        raise _error(sample, error.reason) from error
    if cut.problem:
        raise _error(sample, cut.problem)
    return cut.samples


def sound_track(content: bytes) -> AudioProbe:
    """The first sound track of a file, by decoding its first frame.

    Raises:
        RejectedInput: there is none, or it cannot be decoded.
    """
    with open_media(content) as container:
        stream = main_streams(container)[1]
        if stream is None:
            raise RejectedInput("there is no sound track")
        try:
            first = next((f for f in container.decode(stream) if f.samples), None)
        except FFmpegError as error:
            raise RejectedInput(f"the sound cannot be decoded: {error}") from error
        if first is None:
            raise RejectedInput("the sound track is empty")
        start = 0.0 if first.time is None else float(first.time)
        return AudioProbe(
            stream_index=stream.index,
            codec=stream.codec.name,
            sample_rate=first.sample_rate,
            num_channels=first.layout.nb_channels,
            start_seconds=start,
            end_seconds=start,
        )


def to_wav(samples: NDArray[np.float32], sample_rate: int) -> bytes:
    """16-bit mono WAV of float32 [S] in -1..1; louder is clipped."""
    quantised = np.clip(np.rint(samples * 32767.0), -32768, 32767).astype("<i2")
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(sample_rate)
        file.writeframes(quantised.tobytes())
    return buffer.getvalue()


def _error(sample: EncodedSample, problem: str) -> DecodeError:
    return DecodeError(
        f"its sound cannot be used: {problem}", shard=sample.shard_url, key=sample.info.key
    )
