"""Samples like those that `fmrgb pack` writes with its defaults, made in memory."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Literal

import av
import cv2
import numpy as np
import soundfile
from av.video.stream import VideoStream

from fmrgb_stream.clips.sampling import plan_clip
from fmrgb_stream.config import ClipConfig, PackConfig
from fmrgb_stream.packing.encoders import proxy_encoder
from fmrgb_stream.sample import ClipTask, EncodedSample, PacketTable, PlannedClip, SampleInfo

WIDTH, HEIGHT, NUM_FRAMES, FPS, AUDIO_RATE = 228, 128, 180, 30, 16000
VP9_OPTIONS = {
    "g": "16", "crf": "32", "deadline": "realtime", "cpu-used": "8", "lag-in-frames": "0",
    "auto-alt-ref": "0",
}  # fmt: skip
CODEC_OPTIONS = proxy_encoder(PackConfig()).options


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoShape:
    """How large and how long a generated video is; what `fmrgb pack` makes of 640x360 and 6 s."""

    width: int = WIDTH
    height: int = HEIGHT
    num_frames: int = NUM_FRAMES
    codec: Literal["h264", "vp9"] = "h264"


def generated_samples(
    num_samples: int, *, seed: int = 0, shape: VideoShape | None = None
) -> list[EncodedSample]:
    """Samples of one shape: a texture that drifts under noise, and a tone in noise."""
    shape = shape or VideoShape()
    rngs = [np.random.default_rng([seed, index]) for index in range(num_samples)]
    return [_sample(index, rng, shape) for index, rng in enumerate(rngs)]


def planned_clips(samples: list[EncodedSample], clip: ClipConfig) -> list[PlannedClip]:
    """One clip of each sample, from places spread over them."""
    return [
        PlannedClip(
            task=ClipTask(sample_id=s.sample_id, window_index=0, epoch=0, is_padding=False),
            sample=s,
            plan=plan_clip(s.info, clip, uniform=s.sample_id * 0.37 % 1),
        )
        for s in samples
    ]


def _sample(index: int, rng: np.random.Generator, shape: VideoShape) -> EncodedSample:
    video = _video(rng, shape)
    with av.open(io.BytesIO(video), mode="r") as container:
        stream = container.streams.video[0]
        packets = [packet for packet in container.demux(stream) if packet.size]
        extradata = stream.codec_context.extradata or b""
    times = np.arange(shape.num_frames * AUDIO_RATE // FPS) / AUDIO_RATE
    sound = 0.3 * np.sin(2 * np.pi * rng.uniform(200, 3000) * times)
    audio = io.BytesIO()
    noisy = sound + 0.05 * rng.standard_normal(len(times))
    soundfile.write(audio, noisy, AUDIO_RATE, format="FLAC", subtype="PCM_16")
    info = SampleInfo(
        key=f"generated-{index:04d}",
        group=str(index),
        label=0,
        targets=None,
        has_video=True,
        has_audio=True,
        fps=float(FPS),
        num_frames=shape.num_frames,
        duration_seconds=shape.num_frames / FPS,
        width=shape.width,
        height=shape.height,
        codec=shape.codec,
        color_matrix="bt601",
        color_range="limited",
        rotation_degrees=0,
        audio_sample_rate=AUDIO_RATE,
        num_audio_samples=len(times),
        extradata=extradata,
        frame_times_seconds=None,
        packets=PacketTable(
            offsets=np.array([p.pos for p in packets], np.int64),
            sizes=np.array([p.size for p in packets], np.int64),
            is_key=np.array([p.is_keyframe for p in packets]),
            pts=np.array([p.pts for p in packets], np.int64),
        ),
        members=(),
    )
    return EncodedSample(
        sample_id=index,
        shard_url="memory/shard-000000.tar",
        info=info,
        video=memoryview(video),
        audio=memoryview(audio.getvalue()),
    )


def _video(rng: np.random.Generator, shape: VideoShape) -> bytes:
    width, height = shape.width, shape.height
    coarse = rng.integers(0, 255, (24, 36, 3), dtype=np.uint8)
    texture = cv2.resize(coarse, (width * 2, height * 2), interpolation=cv2.INTER_CUBIC)
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as output:
        encoder, options = {
            "h264": ("libx264", CODEC_OPTIONS),
            "vp9": ("libvpx-vp9", VP9_OPTIONS),
        }[shape.codec]
        stream = output.add_stream(encoder, rate=FPS, options=options)
        assert isinstance(stream, VideoStream), "an encoder of pictures"
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.thread_count = 1
        speed = rng.uniform(0.2, 0.8)
        for k in range(shape.num_frames):
            x, y = int(k * speed) % width, int(k * speed / 2) % height
            window = texture[y : y + height, x : x + width].astype(np.int16)
            noisy = window + rng.integers(-3, 4, window.shape, dtype=np.int16)
            picture = noisy.clip(0, 255).astype(np.uint8)
            output.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        output.mux(stream.encode(None))
    return buffer.getvalue()
