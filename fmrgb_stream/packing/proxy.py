"""One stretch of a video -> constant-rate mp4, small, square-pixelled, upright, BT.601.

Places of the grid are filled while decoding, so one source frame is held at a time.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

import av
import numpy as np

from fmrgb_stream.clips.streams import VideoProbe
from fmrgb_stream.config import PackConfig
from fmrgb_stream.errors import RejectedInput
from fmrgb_stream.packing.crop import Crop, CropConverter
from fmrgb_stream.packing.encoders import proxy_encoder
from fmrgb_stream.packing.stretch import (
    Stretch,
    floor_even,
    nearest_even,
    stretch_frames,
    upright_size,
)
from fmrgb_stream.packing.trouble import no_fault_of_input
from fmrgb_stream.packing.upright import UprightConverter

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

MAX_MISSING_FRACTION: Final = 0.1
"""More frames than this that the container announces and the codec does not give: rejected."""
_SMPTE170M: Final = 6
_LIMITED: Final = 1
_FULL: Final = 2


PlaceConverter: TypeAlias = "Callable[[int, VideoFrame], VideoFrame]"
"""(first place of the grid that shows it, decoded frame) -> the picture to encode."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proxy:
    """The encoded stretch."""

    mp4: bytes
    width: int
    height: int
    num_missing: int
    """Frames that the container announced and the codec did not give; their neighbours stand in."""


def proxy_size(video: VideoProbe, config: PackConfig) -> tuple[int, int]:
    """(width, height) of the upright proxy: even, square pixels, never enlarged."""
    width, height = upright_size(video)
    if config.mag is not None:
        return floor_even(width // config.mag), floor_even(height // config.mag)
    scale = min(1.0, config.short_side / min(width, height))
    return nearest_even(width * scale), nearest_even(height * scale)


def encode_proxy(
    stretch: Stretch, config: PackConfig, *, crop: Crop | None = None, scratch: Path
) -> Proxy:
    """Decode, scale and encode one stretch. `scratch` is a folder for the file in the making.

    Raises:
        RejectedInput: the video cannot be decoded there; says at which second.
        PackError: the scratch folder cannot be written to.
    """
    width, height, convert = _converter(stretch, config, crop)
    return encode_stretch(stretch, config, convert, size=(width, height), scratch=scratch)


def encode_stretch(
    stretch: Stretch,
    config: PackConfig,
    convert: PlaceConverter,
    *,
    size: tuple[int, int],
    is_full_range: bool = False,
    scratch: Path,
) -> Proxy:
    """Decode a stretch and encode what `convert` makes of it, of this (width, height).

    Raises:
        RejectedInput: the video cannot be decoded there; says at which second.
        PackError: the scratch folder cannot be written to.
    """
    width, height = size
    target = scratch / "proxy.mp4"
    encoder = _Encoder(target, stretch.fps, width, height, config, is_full_range=is_full_range)
    num_missing = 0
    try:
        for picture, is_missing in _fill_grid(stretch, convert):
            encoder.add(picture)
            num_missing += is_missing
    finally:
        encoder.close()
    shown = len(np.unique(stretch.shown))
    if num_missing > max(1, MAX_MISSING_FRACTION * shown):
        raise RejectedInput(
            f"only {shown - num_missing} of {shown} frames could be decoded after "
            f"{stretch.times_seconds[0]:.2f} s"
        )
    with no_fault_of_input():
        mp4 = target.read_bytes()
        target.unlink()
    return Proxy(mp4=mp4, width=width, height=height, num_missing=num_missing)


def _converter(
    stretch: Stretch, config: PackConfig, crop: Crop | None
) -> tuple[int, int, PlaceConverter]:
    """(width, height, what makes pictures of that size)."""
    if crop is None or crop.squares_K3 is None:
        width, height = proxy_size(stretch.video, config)
        convert = UprightConverter(stretch.video, width, height)
        return width, height, lambda _, frame: convert(frame)
    width, height = (nearest_even(side) for side in upright_size(stretch.video))
    whole = UprightConverter(stretch.video, width, height)
    return crop.side, crop.side, CropConverter(whole, crop.squares_K3, crop.side)


def _fill_grid(stretch: Stretch, convert: PlaceConverter) -> Iterator[tuple[VideoFrame, bool]]:
    """The picture of each place in order, and whether it stands in for a frame that is missing."""
    shown: list[int] = stretch.shown.tolist()
    place, last = 0, None
    for index, frame in stretch_frames(stretch):
        if index < shown[place]:
            continue
        picture = convert(bisect_left(shown, index), frame)
        while place < len(shown) and shown[place] < index:
            missing = place == 0 or shown[place] != shown[place - 1]
            yield (picture if last is None else last), missing
            place += 1
        while place < len(shown) and shown[place] == index:
            yield picture, False
            place += 1
        last = picture
        if place == len(shown):
            return
    if last is None:
        raise RejectedInput(f"no frame can be decoded at {stretch.times_seconds[0]:.2f} s")
    for rest in range(place, len(shown)):
        yield last, rest == 0 or shown[rest] != shown[rest - 1]


class _Encoder:
    """Pictures in order -> an mp4 whose place k is shown at k/fps."""

    def __init__(
        self,
        target: Path,
        fps: Fraction,
        width: int,
        height: int,
        config: PackConfig,
        *,
        is_full_range: bool,
    ) -> None:
        # bitexact: no library versions or dates in the file, so that equal input gives equal bytes.
        with no_fault_of_input():
            self._container = av.open(
                str(target),
                "w",
                format="mp4",
                options={"movflags": "+faststart", "fflags": "+bitexact"},
            )
        encoder = proxy_encoder(config)
        self._stream = self._container.add_stream(encoder.name, rate=fps, options=encoder.options)
        context = self._stream.codec_context
        context.width, context.height, context.pix_fmt = width, height, "yuv420p"
        context.thread_count = 1  # an encoder's output depends on the number of threads
        context.colorspace = context.color_primaries = context.color_trc = _SMPTE170M
        context.color_range = _FULL if is_full_range else _LIMITED
        self._time_base = 1 / fps
        self._num_frames = 0
        self._is_broken = False

    def add(self, picture: VideoFrame) -> None:
        """Encode the next place."""
        picture.pts = self._num_frames
        picture.time_base = self._time_base
        picture.pict_type = 0  # pyright: ignore[reportAttributeAccessIssue]  # the source's I/P/B
        self._num_frames += 1
        self._mux(picture)

    def close(self) -> None:
        """Flush and finish the file."""
        if self._num_frames and not self._is_broken:
            self._mux(None)
        with no_fault_of_input():
            self._container.close()

    def _mux(self, picture: VideoFrame | None) -> None:
        self._is_broken = True  # FFmpeg crashes when a muxer that failed gets more packets
        with no_fault_of_input():
            self._container.mux(self._stream.encode(picture))
        self._is_broken = False
