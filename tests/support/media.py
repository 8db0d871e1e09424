"""Made-up media whose truth is known: bars are a frame number, a flash and a chirp share a time."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

NUM_BARS = 10
"""Bits of the frame number: black or white vertical bars, lowest bit on the left."""
CHIRP_SECONDS = 0.04


def numbered_frames(num_frames: int, *, width: int = 160, height: int = 96, first: int = 0):
    """uint8 [F, H, W, 3]: the bars of frame k spell k."""
    numbers = np.arange(first, first + num_frames)
    bits_FB = (numbers[:, None] >> np.arange(NUM_BARS)) & 1
    bar_W = np.minimum(np.arange(width) * NUM_BARS // width, NUM_BARS - 1)
    frames_FW = (bits_FB[:, bar_W] * 219 + 16).astype(np.uint8)
    return np.broadcast_to(frames_FW[:, None, :, None], (num_frames, height, width, 3)).copy()


def noisy(frames, level: int = 12):
    """The frames with noise on them, so that an encoder cannot make them tiny."""
    noise = np.random.default_rng(0).integers(-level, level + 1, frames.shape)
    return np.clip(frames + noise, 0, 255).astype(np.uint8)


def read_numbers(frames_FHWC) -> list[int]:
    """The frame numbers that the bars of decoded frames spell; also after scaling."""
    gray_FW = np.asarray(frames_FHWC, dtype=np.float64).mean(axis=(1, 3))
    width = gray_FW.shape[1]
    centres = ((np.arange(NUM_BARS) + 0.5) * width / NUM_BARS).astype(int)
    bits_FB = gray_FW[:, centres] > 128
    return [int(value) for value in (bits_FB << np.arange(NUM_BARS)).sum(axis=1)]


def flash_frames(num_frames: int, flashes: Sequence[int], *, width: int = 64, height: int = 48):
    """uint8 [F, H, W, 3]: black, and white in the frames of `flashes`."""
    frames = np.full((num_frames, height, width, 3), 16, dtype=np.uint8)
    frames[list(flashes)] = 235
    return frames


def tone(hertz: float, seconds: float, *, rate: int = 48000, level: float = 0.3):
    """float32 [S]: a sine."""
    times = np.arange(round(seconds * rate)) / rate
    return (level * np.sin(2 * np.pi * hertz * times)).astype(np.float32)


def chirp(rate: int):
    """float64 [S]: 40 ms from 500 Hz to 3 kHz under a Hann window; its middle is easy to find."""
    times = np.arange(round(CHIRP_SECONDS * rate)) / rate
    phase = 2 * np.pi * (500 * times + 0.5 * (2500 / CHIRP_SECONDS) * times**2)
    return np.sin(phase) * np.hanning(len(times))


def chirps_at(times_seconds: Sequence[float], *, seconds: float, rate: int = 48000):
    """float32 [S]: silence with a chirp that starts at each time."""
    wave = np.zeros(round(seconds * rate), dtype=np.float32)
    pulse = chirp(rate).astype(np.float32)
    for time in times_seconds:
        start = round(time * rate)
        wave[start : start + len(pulse)] += 0.8 * pulse[: len(wave) - start]
    return wave


def find_chirps(wave, rate: int, *, threshold: float = 0.5) -> list[float]:
    """Start times in seconds of the chirps in a waveform, by matched filter."""
    pulse = chirp(rate)
    score = np.abs(np.correlate(np.asarray(wave, dtype=np.float64), pulse, mode="full"))
    limit, found = threshold * score.max(), []
    gap = len(pulse)
    while score.max() >= limit and score.max() > 0:
        peak = int(score.argmax())
        found.append((peak - (len(pulse) - 1)) / rate)
        score[max(0, peak - gap) : peak + gap] = 0
    return sorted(found)


@dataclass(frozen=True)
class Sound:
    """Sound of a made file."""

    samples: np.ndarray
    """float32 [S] or [S, C]."""
    rate: int = 48000
    codec: str = "aac"
    layout: str = "mono"
    start_seconds: float = 0.0


@dataclass(frozen=True)
class Picture:
    """Picture of a made file."""

    frames: np.ndarray
    """uint8 [F, H, W, 3]."""
    fps: Fraction = Fraction(30)
    times_seconds: Sequence[float] | None = None
    """Presentation times where they are not k / fps."""
    codec: str = "libx264"
    pix_fmt: str = "yuv420p"
    start_seconds: float = 0.0
    options: tuple[tuple[str, str], ...] = (("preset", "ultrafast"),)
    sample_aspect_ratio: Fraction | None = None
    bit_rate: int | None = None


def write_media(
    path: Path,
    *,
    picture: Picture | None = None,
    sound: Sound | None = None,
    audio_first: bool = False,
    container_options: dict[str, str] | None = None,
    container: str | None = None,
) -> Path:
    """Encode picture and sound into the container of the file's extension."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", format=container, options=container_options or {}) as output:
        adders = [
            (lambda: _add_audio(output, sound)) if sound else None,
            (lambda: _add_video(output, picture)) if picture else None,
        ]
        streams = {}
        for index in (0, 1) if audio_first else (1, 0):
            if adders[index]:
                streams[index] = adders[index]()
        packets = []
        if 1 in streams:
            packets += _encode_video(streams[1], picture)
        if 0 in streams:
            packets += _encode_audio(streams[0], sound)
        for packet in sorted(packets, key=lambda p: p.dts * p.time_base):
            output.mux(packet)
    return path


def _add_video(output, picture: Picture):
    options = dict(picture.options) if picture.codec in ("libx264", "libx265") else {}
    if picture.codec == "libx265":
        options["x265-params"] = "log-level=none"
    stream = output.add_stream(picture.codec, rate=picture.fps, options=options)
    stream.height, stream.width = picture.frames.shape[1:3]
    stream.pix_fmt = picture.pix_fmt
    if picture.times_seconds is not None or picture.start_seconds:
        stream.codec_context.time_base = Fraction(1, 90000)
    if picture.bit_rate is not None:
        stream.bit_rate = picture.bit_rate
    if picture.sample_aspect_ratio is not None:
        stream.codec_context.sample_aspect_ratio = picture.sample_aspect_ratio
    return stream


def _encode_video(stream, picture: Picture):
    packets = []
    for index, array in enumerate(picture.frames):
        frame = av.VideoFrame.from_ndarray(array, format="rgb24")
        if picture.times_seconds is not None:
            frame.pts = round((picture.times_seconds[index] + picture.start_seconds) * 90000)
            frame.time_base = Fraction(1, 90000)
        elif picture.start_seconds:
            frame.pts = round((index / picture.fps + picture.start_seconds) * 90000)
            frame.time_base = Fraction(1, 90000)
        else:
            frame.pts = index
            frame.time_base = 1 / picture.fps
        packets += stream.encode(frame)
    return packets + stream.encode(None)


def _add_audio(output, sound: Sound):
    stream = output.add_stream(sound.codec, rate=sound.rate)
    stream.layout = sound.layout
    return stream


def _encode_audio(stream, sound: Sound):
    samples_SC = sound.samples if sound.samples.ndim == 2 else sound.samples[:, None]
    channels = av.AudioLayout(sound.layout).nb_channels
    samples_SC = (
        np.broadcast_to(samples_SC, (len(samples_SC), channels))
        if samples_SC.shape[1] == 1
        else samples_SC
    )
    resampler = av.AudioResampler(format=stream.format, layout=sound.layout, rate=sound.rate)
    packets = []
    # The encoder is fed frames of its own size; FFmpeg pads the last one.
    size = stream.codec_context.frame_size or 1024
    for start in range(0, len(samples_SC), size):
        block = np.ascontiguousarray(samples_SC[start : start + size].T, dtype=np.float32)
        frame = av.AudioFrame.from_ndarray(block, format="fltp", layout=sound.layout)
        frame.sample_rate = sound.rate
        frame.time_base = Fraction(1, sound.rate)
        frame.pts = start + round(sound.start_seconds * sound.rate)
        for converted in resampler.resample(frame):
            packets += stream.encode(converted)
    return packets + stream.encode(None)


def rotate_mov(path: Path, clockwise_degrees: int) -> Path:
    """Write a display matrix into the video track header of a mov or mp4 file, as phones do."""
    content = bytearray(path.read_bytes())
    one = 0x00010000
    matrix = {
        90: (0, one, 0, -one, 0, 0, 0, 0, 0x40000000),
        180: (-one, 0, 0, 0, -one, 0, 0, 0, 0x40000000),
        270: (0, -one, 0, one, 0, 0, 0, 0, 0x40000000),
    }[clockwise_degrees]
    start = 0
    while (start := content.find(b"tkhd", start)) != -1:
        # Version 0 (ISO 14496-12, 8.3.2): the matrix starts 40 bytes after the flags' first byte;
        # width stands after it, 0 in audio tracks.
        body = start + 4
        if content[body + 76 : body + 80] != b"\0\0\0\0":
            content[body + 40 : body + 76] = struct.pack(">9i", *matrix)
        start = body
    path.write_bytes(content)
    return path


def four_bad_files(folder: Path) -> list[Path]:
    """Empty, text named .mp4, cut before moov, and a container without one frame."""
    folder.mkdir(parents=True, exist_ok=True)
    empty = folder / "empty.mp4"
    empty.write_bytes(b"")
    text = folder / "text.mp4"
    text.write_text("this is not a video\n" * 20)
    whole = write_media(
        folder / "truncated.mp4", picture=Picture(numbered_frames(30)), sound=Sound(tone(440, 1))
    )
    content = whole.read_bytes()
    whole.write_bytes(content[: content.rfind(b"moov") - 100])
    zero = folder / "zero_frames.mp4"
    # Without a frame FFmpeg writes no track at all into mp4; a fragmented header keeps one.
    with av.open(str(zero), "w", options={"movflags": "empty_moov"}) as output:
        stream = output.add_stream("mpeg4", rate=30)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        output.start_encoding()
    return [empty, text, whole, zero]
