"""Pictures and sound <-> mp4 files with H.264 and AAC, as the web has them.

Shape legend: H height, W width, 2 sound channels, S audio samples.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Final

import av
import numpy as np
from av.audio.resampler import AudioResampler
from av.video.reformatter import VideoReformatter

if TYPE_CHECKING:
    from av.audio.stream import AudioStream
    from av.container import OutputContainer
    from numpy.typing import NDArray

CODEC_OPTIONS: Final = {"preset": "medium", "crf": "20"}
"""x264 as most people run it: B-frames, three reference frames, a keyframe when it sees a cut."""
AUDIO_BIT_RATE: Final = 128_000
_AAC_FRAME_SAMPLES: Final = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadMedia:
    """A decoded file."""

    frames_HWC: list[NDArray[np.uint8]]
    """uint8 RGB, every frame."""
    fps: Fraction
    sound_2S: NDArray[np.float32]
    """From the time of the first frame on."""
    sample_rate: int


def write_mp4(
    path: Path,
    frames_HWC: Iterable[NDArray[np.uint8]],
    sound_2S: NDArray[np.float32],
    *,
    fps: Fraction,
    sample_rate: int,
) -> None:
    """Encode one file; it appears under its name only when it is whole."""
    partial = path.with_suffix(".partial")
    with av.open(partial, "w", format="mp4") as output:
        video = output.add_stream("libx264", rate=fps, options=CODEC_OPTIONS)
        video.pix_fmt = "yuv420p"
        # One thread: the same bytes on every machine.
        video.codec_context.thread_count = 1
        audio = output.add_stream("aac", rate=sample_rate, layout="stereo")
        audio.bit_rate = AUDIO_BIT_RATE
        sent = 0
        for number, frame_HWC in enumerate(frames_HWC):
            if not number:
                video.height, video.width = frame_HWC.shape[:2]
            picture = av.VideoFrame.from_ndarray(frame_HWC, format="rgb24")
            picture.pts, picture.time_base = number, 1 / fps
            output.mux(video.encode(picture))
            until = round((number + 1) / fps * sample_rate)
            sent = _send_sound(output, audio, sound_2S[:, :until], sent)
        output.mux(video.encode(None))
        _send_sound(output, audio, sound_2S, sent, is_last=True)
        output.mux(audio.encode(None))
    partial.replace(path)


def read_media(path: Path, *, short_side: int) -> ReadMedia | None:
    """Decode a file, larger pictures scaled down; None when video or sound is missing."""
    with av.open(path) as container:
        if not container.streams.video or not container.streams.audio:
            return None
        video, audio = container.streams.video[0], container.streams.audio[0]
        if video.codec.name != "h264":
            return None
        height, width = _even_size(video.height, video.width, short_side)
        scaler, resampler = VideoReformatter(), AudioResampler("fltp", "stereo", audio.rate)
        frames: list[NDArray[np.uint8]] = []
        pieces: list[NDArray[np.float32]] = []
        starts: list[float] = []
        for packet in container.demux(video, audio):
            for frame in packet.decode():
                if isinstance(frame, av.VideoFrame):
                    starts += [frame.time or 0.0] if not frames else []
                    scaled = scaler.reformat(frame, width=width, height=height, format="rgb24")
                    frames.append(np.asarray(scaled.to_ndarray(), np.uint8))
                elif isinstance(frame, av.AudioFrame):
                    pieces += [_samples(part) for part in resampler.resample(frame)]
        fps = video.average_rate or Fraction(30)
        sound_2S = np.concatenate(pieces, axis=1)[:, round(starts[0] * audio.rate) :]
        return ReadMedia(frames_HWC=frames, fps=fps, sound_2S=sound_2S, sample_rate=audio.rate)


def _samples(frame: av.AudioFrame) -> NDArray[np.float32]:
    return np.asarray(frame.to_ndarray(), np.float32)


def _even_size(height: int, width: int, short_side: int) -> tuple[int, int]:
    """Chroma has half the size, so both sides must be even."""
    shrink = min(1.0, short_side / min(height, width))
    return round(height * shrink / 2) * 2, round(width * shrink / 2) * 2


def _send_sound(
    output: OutputContainer,
    audio: AudioStream,
    sound_2S: NDArray[np.float32],
    sent: int,
    *,
    is_last: bool = False,
) -> int:
    """Encode what is there beyond the `sent` samples, in whole AAC frames until the last."""
    while sent < sound_2S.shape[1]:
        chunk = np.ascontiguousarray(sound_2S[:, sent : sent + _AAC_FRAME_SAMPLES])
        if chunk.shape[1] < _AAC_FRAME_SAMPLES and not is_last:
            break
        frame = av.AudioFrame.from_ndarray(chunk, format="fltp", layout="stereo")
        frame.sample_rate, frame.pts = audio.rate, sent
        frame.time_base = Fraction(1, audio.rate)
        output.mux(audio.encode(frame))
        sent += chunk.shape[1]
    return sent
