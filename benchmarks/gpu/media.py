"""Videos whose frames carry their number, in any codec, and datasets packed of them."""

from __future__ import annotations

import io
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace
from av.video.stream import VideoStream

from fmrgb_stream.config import PackConfig
from fmrgb_stream.packing import pack

if TYPE_CHECKING:
    from numpy.typing import NDArray

NUM_BARS: Final = 10
"""Bits of a frame's number: dark or light vertical bars, lowest bit on the left."""
FPS: Final = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Video:
    """How a numbered video is made."""

    encoder: str = "libx264"
    width: int = 320
    height: int = 240
    num_frames: int = 60
    gop: int = 16
    pix_fmt: str = "yuv420p"
    container: str = "mp4"
    options: tuple[tuple[str, str], ...] = ()
    color: tuple[int, int, int] | None = None
    """A flat picture instead of bars."""
    matrix: Colorspace = Colorspace.ITU601
    range: ColorRange = ColorRange.MPEG


def encoded(video: Video) -> bytes:
    """The file."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=video.container) as output:
        options = {"g": str(video.gop), **dict(video.options)}
        stream = output.add_stream(video.encoder, rate=Fraction(FPS), options=options)
        assert isinstance(stream, VideoStream), "an encoder of pictures"
        stream.width, stream.height, stream.pix_fmt = video.width, video.height, video.pix_fmt
        context = stream.codec_context
        context.colorspace = 6 if video.matrix == Colorspace.ITU601 else 1
        context.color_range = 2 if video.range == ColorRange.JPEG else 1
        rng = np.random.default_rng(0)
        for number in range(video.num_frames):
            picture = av.VideoFrame.from_ndarray(_picture(video, number, rng), format="rgb24")
            output.mux(
                stream.encode(
                    picture.reformat(
                        format=video.pix_fmt,
                        src_color_range=ColorRange.JPEG,
                        dst_colorspace=video.matrix,
                        dst_color_range=video.range,
                    )
                )
            )
        output.mux(stream.encode(None))
    return buffer.getvalue()


def _picture(video: Video, number: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    shape = (video.height, video.width, 3)
    if video.color is not None:
        return np.broadcast_to(np.array(video.color, np.uint8), shape).copy()
    bars = np.minimum(np.arange(video.width) * NUM_BARS // video.width, NUM_BARS - 1)
    row = ((number >> bars & 1) * 180 + 30).astype(np.int16)
    noise = rng.integers(-8, 9, (video.height // 4 + 1, video.width // 4 + 1), dtype=np.int16)
    noise = noise.repeat(4, 0).repeat(4, 1)[: video.height, : video.width]
    return (row + noise).clip(0, 255).astype(np.uint8)[..., None].repeat(3, axis=2)


def numbers_in(frames_FHWC: NDArray[Any]) -> list[int]:
    """The number in each frame; also after scaling."""
    gray_FW = np.asarray(frames_FHWC, np.float64).mean(axis=(1, 3))
    centres = ((np.arange(NUM_BARS) + 0.5) * gray_FW.shape[1] / NUM_BARS).astype(int)
    return ((gray_FW[:, centres] > 120) << np.arange(NUM_BARS)).sum(axis=1).tolist()


def packed(folder: Path, videos: list[Video], *, codec: str, short_side: int) -> Path:
    """A dataset of these videos, without sound, in one split."""
    source, root = folder / "source", folder / "dataset"
    source.mkdir(parents=True)
    for number, video in enumerate(videos):
        (source / f"{number:04d}.mp4").write_bytes(encoded(video))
    config = PackConfig(
        codec="vp9" if codec == "vp9" else "h264", short_side=short_side, splits={"train": 1.0}
    )
    pack(source, root, config=config)
    return root
