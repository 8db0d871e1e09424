"""A source file -> windows of its sound, mono, 16 kHz, sample 0 at the first video frame.

What lies around a window is decoded by seeking, mixed down and resampled; the rest is not touched.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

import av
import numpy as np
import soxr

from benchmarks.throughput.recipe import AUDIO_RATE, ReadSound

if TYPE_CHECKING:
    from av.audio.stream import AudioStream
    from av.container import InputContainer
    from numpy.typing import NDArray

MARGIN_SECONDS: Final = 0.15
"""Decoded on both sides: AAC needs two frames (46 ms) to start, the resampler some context."""


def source_reader(source: bytes | Path) -> ReadSound:
    """Reads windows of the sound of a file or its bytes; silence where there is none."""

    def read(first_sample: int, num_samples: int) -> NDArray[np.float32]:
        opened = io.BytesIO(source) if isinstance(source, bytes) else str(source)
        with av.open(opened, "r") as container:
            return _window(container, first_sample / AUDIO_RATE, num_samples)

    return read


def _window(
    container: InputContainer, start_seconds: float, num_samples: int
) -> NDArray[np.float32]:
    audio, video = container.streams.audio[0], container.streams.video[0]
    rate = audio.rate
    # The container's clock; the clip's begins with the first picture.
    first_picture = float((video.start_time or 0) * (video.time_base or 0))
    begin = first_picture + start_seconds - MARGIN_SECONDS
    native = np.zeros(round((num_samples / AUDIO_RATE + 2 * MARGIN_SECONDS) * rate), np.float32)
    for time_seconds, sound_S in _decoded(container, audio, begin):
        place = round((time_seconds - begin) * rate)
        if place >= len(native):
            break
        kept = sound_S[max(0, -place) :][: len(native) - max(0, place)]
        native[max(0, place) :][: len(kept)] = kept
    mono = cast("NDArray[np.float32]", soxr.resample(native, rate, AUDIO_RATE))
    margin = round(MARGIN_SECONDS * AUDIO_RATE)
    return mono[margin : margin + num_samples]


def _decoded(
    container: InputContainer, audio: AudioStream, begin_seconds: float
) -> Iterator[tuple[float, NDArray[np.float32]]]:
    """(time of the first sample, float32 [S]) of each decoded frame from a time on."""
    base = audio.time_base
    if base is None:
        raise ValueError("the sound has no time base")
    container.seek(max(0, int((begin_seconds - MARGIN_SECONDS) / base)), stream=audio)
    for frame in container.decode(audio):
        if frame.pts is not None:
            yield float(frame.pts * base), _mono(frame)


def _mono(frame: av.AudioFrame) -> NDArray[np.float32]:
    """The mean of the channels; FFmpeg's decoders give planar float for AAC."""
    if frame.format.name != "fltp":
        raise ValueError(f"sound in {frame.format.name}; this reader takes planar float (AAC)")
    return cast("NDArray[np.float32]", frame.to_ndarray()).mean(axis=0)
