"""A sample whose sound is of another maker's kind -> the same sample with plain mono WAV.

Shards of other makers hold sound as MP3, AAC, Opus, stereo WAV or inside the video. Cut, mixed and
resampled once, when the sample is read, it is what every pipeline expects, on CPU and GPU.
"""

from __future__ import annotations

import io
import wave
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from av.error import FFmpegError

from fmrgb_stream.clips.media import main_streams, open_media
from fmrgb_stream.clips.sound import cut_waveform
from fmrgb_stream.clips.streams import AudioProbe
from fmrgb_stream.errors import DecodeError, RejectedInput
from fmrgb_stream.sample import EncodedSample

if TYPE_CHECKING:
    from numpy.typing import NDArray


def with_plain_sound(sample: EncodedSample) -> EncodedSample:
    """The sample with 16-bit mono WAV at the index's rate, sample 0 at t = 0.

    A sample that is like that already, or was read without its sound, comes back as it is.

    Raises:
        DecodeError: the sound cannot be decoded.
    """
    info = sample.info
    if info.sound_zero_seconds is None or sample.audio is None:
        return sample
    content = bytes(sample.audio)
    try:
        cut = cut_waveform(
            content,
            sound_track(content),
            start_seconds=info.sound_zero_seconds,
            duration_seconds=info.num_audio_samples / info.audio_sample_rate,
            sample_rate=info.audio_sample_rate,
        )
    except RejectedInput as error:
        raise _error(sample, error.reason) from error
    if cut.problem:
        raise _error(sample, cut.problem)
    plain = to_wav(cut.samples, info.audio_sample_rate)
    return replace(sample, info=replace(info, sound_zero_seconds=None), audio=memoryview(plain))


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
