"""One stretch of a video -> constant-rate mp4, small, square-pixelled, upright, BT.601.

Places of the grid are filled while decoding, so one source frame is held at a time.
"""

from __future__ import annotations

import logging
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Final

import av
import numpy as np
from av.error import FFmpegError

from fmrgb_stream.clips.media import main_streams, open_media
from fmrgb_stream.clips.streams import VideoProbe
from fmrgb_stream.config import PackConfig
from fmrgb_stream.errors import RejectedInput
from fmrgb_stream.packing.encoders import proxy_encoder
from fmrgb_stream.packing.trouble import no_fault_of_input
from fmrgb_stream.packing.upright import UprightConverter

if TYPE_CHECKING:
    from av.video.frame import VideoFrame
    from numpy.typing import NDArray

logger = logging.getLogger(__name__)

MAX_MISSING_FRACTION: Final = 0.1
"""More frames than this that the container announces and the codec does not give: rejected."""
_SEEK_MARGIN_SECONDS: Final = 0.5
_SMPTE170M: Final = 6
_LIMITED: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """Which frames of a file become which places of the proxy's grid."""

    path: Path
    video: VideoProbe
    """Without its ticks."""
    times_seconds: NDArray[np.float64]
    """float64 [F]: the source frames of the stretch, on the container's clock."""
    shown: NDArray[np.int64]
    """int64 [K]: which of them each place shows."""
    fps: Fraction


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
    ratio = video.sample_aspect_ratio
    # The side with the longer pixels keeps its count, the other shrinks.
    width = video.width * min(1.0, float(ratio))
    height = video.height / max(1.0, float(ratio))
    if video.rotation_degrees in (90, 270):
        width, height = height, width
    if config.mag is not None:
        return _floor_even(width // config.mag), _floor_even(height // config.mag)
    scale = min(1.0, config.short_side / min(width, height))
    return _nearest_even(width * scale), _nearest_even(height * scale)


def _floor_even(side: float) -> int:
    return max(2, int(side) // 2 * 2)


def _nearest_even(side: float) -> int:
    return max(2, round(side / 2) * 2)


def encode_proxy(stretch: Stretch, config: PackConfig, *, scratch: Path) -> Proxy:
    """Decode, scale and encode one stretch. `scratch` is a folder for the file in the making.

    Raises:
        RejectedInput: the video cannot be decoded there; says at which second.
        PackError: the scratch folder cannot be written to.
    """
    width, height = proxy_size(stretch.video, config)
    target = scratch / "proxy.mp4"
    encoder = _Encoder(target, stretch.fps, width, height, config)
    num_missing = 0
    try:
        for picture, is_missing in _fill_grid(
            stretch, UprightConverter(stretch.video, width, height)
        ):
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


def _fill_grid(stretch: Stretch, convert: UprightConverter) -> Iterator[tuple[VideoFrame, bool]]:
    """The picture of each place in order, and whether it stands in for a frame that is missing."""
    shown: list[int] = stretch.shown.tolist()
    place, last = 0, None
    for index, frame in _stretch_frames(stretch):
        if index < shown[place]:
            continue
        picture = convert(frame)
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


def _stretch_frames(stretch: Stretch) -> Iterator[tuple[int, VideoFrame]]:
    """(index in the stretch, frame) in increasing order, by seeking or from the beginning."""
    times: list[float] = stretch.times_seconds.tolist()
    first = times[0]
    # Below half of the shortest step, so that a frame is near to one of the times at most.
    step = float(np.diff(times).min()) if len(times) > 1 else 1 / float(stretch.fps)
    tolerance = 0.45 * step
    seek_to = first - _SEEK_MARGIN_SECONDS
    starts_late = seek_to > stretch.video.start_seconds
    for attempt in (seek_to, None) if starts_late else (None,):
        met_start = attempt is None
        at = attempt or first
        try:
            for at, frame in _decode(stretch, attempt):
                met_start = met_start or at <= first + tolerance
                if not met_start or at > times[-1] + tolerance:
                    break  # the seek landed after the start, or all is there
                index = bisect_left(times, at - tolerance)
                if index < len(times) and times[index] <= at + tolerance:
                    yield index, frame
        except FFmpegError as error:
            if met_start:
                raise RejectedInput(f"the video breaks off at {at:.2f} s: {error}") from error
            logger.debug("%s: seeking to %.2f s failed: %s", stretch.path, seek_to, error)
        if met_start:
            return


def _decode(stretch: Stretch, seek_to: float | None) -> Iterator[tuple[float, VideoFrame]]:
    """(time on the container's clock, frame) in presentation order."""
    with open_media(stretch.path) as container:
        stream = main_streams(container)[0]
        if stream is None or stream.time_base is None:
            raise RejectedInput("the video stream went away between two looks at the file")
        stream.thread_type = "SLICE"
        stream.codec_context.thread_count = 1
        if seek_to is not None:
            container.seek(int(seek_to / stream.time_base), stream=stream)
        tick = float(stream.time_base)
        for frame in container.decode(stream):
            if frame.pts is not None:
                yield frame.pts * tick, frame


class _Encoder:
    """Pictures in order -> an mp4 whose place k is shown at k/fps."""

    def __init__(
        self, target: Path, fps: Fraction, width: int, height: int, config: PackConfig
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
        context.color_range = _LIMITED
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
