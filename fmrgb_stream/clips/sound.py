"""A file's sound, as path or bytes -> one stretch of it as a mono waveform on the video's clock.

Sound is placed by its presentation times; FFmpeg itself drops what encoders put in front (edit
lists, AAC, MP3 and Opus priming). Resampling has no delay, so the clock is kept to one native
sample.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

import av
import numpy as np
import soxr
from av.error import FFmpegError

from fmrgb_stream.clips.media import main_streams, open_media
from fmrgb_stream.clips.streams import AudioProbe
from fmrgb_stream.errors import RejectedInput

if TYPE_CHECKING:
    from av.audio.frame import AudioFrame
    from av.audio.layout import AudioLayout
    from numpy.typing import NDArray

    FloatArray = NDArray[np.float32]

PREROLL_SECONDS: Final = 1.0
"""Decoded before a stretch: Opus needs 80 ms, MP3 some frames, and the resampler its context."""
CONTEXT_SECONDS: Final = 1
"""Native sound kept on both sides for the resampler; whole, so that it is whole samples too."""
MAX_JITTER_SECONDS: Final = 0.030
"""Presentation times this near to the running sample count do not break the sound."""
# How much of each speaker the mono mix holds, before the weights are made to add up to 1
# (ITU-R BS.775-3, annex 4; the low-frequency effects are left out as there).
_WEIGHTS: Final = {"FL": 0.7071, "FR": 0.7071, "FC": 1.0, "LFE": 0.0, "LFE2": 0.0}
_OTHER_WEIGHT: Final = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Waveform:
    """One stretch of a file's sound."""

    samples: FloatArray
    """float32 [S] in -1..1."""
    problem: str
    """Why the track breaks off before the stretch ends; else empty."""
    error: Exception | None = None
    """What FFmpeg said of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Chunk:
    """One decoded frame: samples float32 [S] and the time of the first one."""

    start_seconds: float
    samples: FloatArray


@dataclass(frozen=True, slots=True, kw_only=True)
class _Track:
    """What could be decoded, and why it is not all."""

    chunks: list[_Chunk]
    problem: str = ""
    error: Exception | None = None


def cut_waveform(
    source: Path | bytes,
    audio: AudioProbe,
    *,
    start_seconds: float,
    duration_seconds: float,
    sample_rate: int,
) -> Waveform:
    """Cut, mix to mono and resample one stretch; silence where the track has nothing.

    `start_seconds` is on the container's clock. The result has round(duration * rate) samples. A
    track that breaks off keeps what comes before, as cut-off recordings do.

    Raises:
        RejectedInput: nothing of the stretch can be decoded; says at which second.
    """
    until = start_seconds + duration_seconds + CONTEXT_SECONDS
    track = _decode_from(source, audio, start_seconds, until)
    native = place_chunks(
        track.chunks,
        rate=audio.sample_rate,
        start_seconds=start_seconds - CONTEXT_SECONDS,
        num_samples=round((duration_seconds + 2 * CONTEXT_SECONDS) * audio.sample_rate),
    )
    mono = soxr.resample(native, audio.sample_rate, sample_rate, quality="HQ")
    num_samples = round(duration_seconds * sample_rate)
    cut = cast("FloatArray", mono)[CONTEXT_SECONDS * sample_rate :][:num_samples]
    return Waveform(samples=cut, problem=track.problem, error=track.error)


def place_chunks(
    chunks: Sequence[_Chunk], *, rate: int, start_seconds: float, num_samples: int
) -> FloatArray:
    """Lay chunks on a timeline: float32 [num_samples] from `start_seconds`, zeros in gaps.

    Chunks whose times agree with the running sample count within 30 ms form a run, which is laid
    without a seam at the median of their times, so that clocks of 1 ms and jitter average out.
    """
    line = np.zeros(num_samples, dtype=np.float32)
    filled = 0
    for run in _runs(chunks, rate):
        samples = np.concatenate([chunk.samples for chunk in run])
        counts = np.cumsum([0, *(len(chunk.samples) for chunk in run[:-1])])
        times = np.asarray([chunk.start_seconds for chunk in run]) - start_seconds
        first = round(float(np.median(times * rate - counts)))
        # What overlaps the run before is trimmed: the earlier sound stays.
        skip = max(0, filled - first)
        at, end = first + skip, min(num_samples, first + len(samples))
        if end > at:
            line[at:end] = samples[skip : skip + end - at]
            filled = end
    return line


def _runs(chunks: Sequence[_Chunk], rate: int) -> Iterator[list[_Chunk]]:
    run: list[_Chunk] = []
    expected = 0.0
    for chunk in chunks:
        if run and abs(chunk.start_seconds - expected) > MAX_JITTER_SECONDS:
            yield run
            run = []
        if not run:
            expected = chunk.start_seconds
        run.append(chunk)
        expected += len(chunk.samples) / rate
    if run:
        yield run


def _decode_from(
    source: Path | bytes, audio: AudioProbe, start_seconds: float, until_seconds: float
) -> _Track:
    """Everything that sounds between the two times; from the beginning if seeking misses."""
    wanted = max(audio.start_seconds, start_seconds - CONTEXT_SECONDS)
    if wanted - PREROLL_SECONDS > audio.start_seconds:
        track = _decode(source, audio, until_seconds, seek_to=wanted - PREROLL_SECONDS)
        # A seek may land late; then the stretch would begin with silence that is not there.
        if track.chunks and track.chunks[0].start_seconds <= wanted - PREROLL_SECONDS / 2:
            late = [chunk for chunk in track.chunks if chunk.start_seconds >= wanted - 0.5]
            return replace(track, chunks=late)
    return _decode(source, audio, until_seconds, seek_to=None, keep_from=wanted - 0.5)


def _decode(
    source: Path | bytes,
    audio: AudioProbe,
    until_seconds: float,
    *,
    seek_to: float | None,
    keep_from: float = -np.inf,
) -> _Track:
    chunks: list[_Chunk] = []
    at = seek_to or audio.start_seconds
    try:
        with open_media(source) as container:
            stream = main_streams(container)[1]
            if stream is None or stream.time_base is None:
                raise RejectedInput("the sound track went away between two looks at the file")
            if seek_to is not None:
                try:
                    container.seek(int(seek_to / stream.time_base), stream=stream)
                except FFmpegError:
                    return _Track(chunks=[])  # no index; the caller begins at the beginning
            for chunk in _mono(container.decode(stream), audio):
                at = chunk.start_seconds
                if at > until_seconds:
                    break
                if at >= keep_from:
                    chunks.append(chunk)
    except FFmpegError as error:
        problem = f"the sound breaks off at {at:.2f} s: {error}"
        if not chunks:
            raise RejectedInput(problem) from error
        return _Track(chunks=chunks, problem=f"{problem}; silence follows", error=error)
    return _Track(chunks=chunks)


def _mono(frames: Iterable[AudioFrame], audio: AudioProbe) -> Iterator[_Chunk]:
    """Frames -> mono chunks at the probe's rate; frames without a time follow the one before."""
    converter = _planar_float(audio.sample_rate)
    weights: dict[str, FloatArray] = {}
    expected = audio.start_seconds
    for frame in frames:
        if frame.samples == 0:
            continue
        if frame.time is not None:
            expected = float(frame.time)
        if frame.sample_rate != audio.sample_rate:
            raise RejectedInput(
                f"the sound changes from {audio.sample_rate} to {frame.sample_rate} Hz at "
                f"{expected:.2f} s"
            )
        samples_CS = converter(frame)
        layout = frame.layout
        if layout.name not in weights:
            weights[layout.name] = mix_weights(layout)
        yield _Chunk(start_seconds=expected, samples=weights[layout.name] @ samples_CS)
        expected += frame.samples / frame.sample_rate


def _planar_float(rate: int) -> Any:
    """A function AudioFrame -> float32 [C, S] in -1..1 at the frame's own rate and layout."""
    resamplers: dict[str, av.AudioResampler] = {}

    def convert(frame: AudioFrame) -> FloatArray:
        if frame.format.name == "fltp":
            planes = (memoryview(plane) for plane in frame.planes)
            return np.stack([np.frombuffer(p, np.float32, frame.samples) for p in planes])
        key = f"{frame.format.name} {frame.layout.name}"
        if key not in resamplers:
            resamplers[key] = av.AudioResampler("fltp", frame.layout, rate)
        # The format alone changes, so each frame gives all its samples at once.
        parts = [part.to_ndarray() for part in resamplers[key].resample(frame)]
        return cast("FloatArray", np.concatenate(parts, axis=1))

    return convert


def mix_weights(layout: AudioLayout) -> FloatArray:
    """float32 [C], adding up to 1: how much of each speaker goes into mono."""
    weights = [_WEIGHTS.get(channel.name, _OTHER_WEIGHT) for channel in layout.channels]
    if sum(weights) == 0:
        weights = [1.0] * len(weights)
    return (np.asarray(weights) / sum(weights)).astype(np.float32)
