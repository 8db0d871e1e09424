"""Which frames of a file become which places of a constant-rate grid, and how large they are."""

from __future__ import annotations

import logging
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from av.error import FFmpegError

from fmrgb_stream.clips.media import main_streams, open_media
from fmrgb_stream.clips.streams import VideoProbe
from fmrgb_stream.errors import RejectedInput

if TYPE_CHECKING:
    from av.video.frame import VideoFrame
    from numpy.typing import NDArray

logger = logging.getLogger(__name__)

_SEEK_MARGIN_SECONDS: Final = 0.5


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


def upright_size(video: VideoProbe) -> tuple[float, float]:
    """(width, height) of the whole upright picture with square pixels, not rounded."""
    ratio = video.sample_aspect_ratio
    # The side with the longer pixels keeps its count, the other shrinks.
    width = video.width * min(1.0, float(ratio))
    height = video.height / max(1.0, float(ratio))
    return (height, width) if video.rotation_degrees in (90, 270) else (width, height)


def floor_even(side: float) -> int:
    """The even whole number below, at least 2."""
    return max(2, int(side) // 2 * 2)


def nearest_even(side: float) -> int:
    """The nearest even whole number, at least 2."""
    return max(2, round(side / 2) * 2)


def stretch_frames(stretch: Stretch) -> Iterator[tuple[int, VideoFrame]]:
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
