"""A video file or its bytes -> the pictures of the centre window, by decord, torchcodec or PyAV.

Each function uses one thread, takes only the wanted frames out of the decoder, and resizes in the
way that was measured to be the quickest for its library.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import cv2
import numpy as np
from av.codec.context import ThreadType
from av.video.reformatter import Interpolation, VideoReformatter

from benchmarks.throughput.contract import BenchClip
from benchmarks.throughput.peers.libraries import library, torchcodec_decoders
from benchmarks.throughput.recipe import FrameWindow, centre_window

if TYPE_CHECKING:
    from numpy.typing import NDArray

Source = bytes | Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Pictures:
    """The decoded frames of one clip."""

    rgb_NHW3: NDArray[np.uint8]
    """Of `window.wanted`, at the clip's size."""
    window: FrameWindow
    fps: float


Decode = Callable[[Source, BenchClip], Pictures]


def torchcodec_pictures(source: Source, clip: BenchClip) -> Pictures:
    """Approximate seek (frame times from the header, no scan), channels last, cv2's bilinear.

    cv2 is a third quicker than torchcodec's own `Resize` here.
    """
    decoder = torchcodec_decoders().VideoDecoder(
        source if isinstance(source, bytes) else str(source),
        seek_mode="approximate",
        dimension_order="NHWC",
        num_ffmpeg_threads=1,
    )
    window = centre_window(decoder.metadata.num_frames, clip)
    frames_NHW3 = decoder.get_frames_at(window.wanted).data.numpy()
    return Pictures(
        rgb_NHW3=resized(frames_NHW3, clip.size), window=window, fps=decoder.metadata.average_fps
    )


def decord_pictures(source: Source, clip: BenchClip) -> Pictures:
    """Decord scales inside its decoder; `get_batch` seeks to the keyframe by itself."""
    decord = library("decord")
    reader = decord.VideoReader(
        io.BytesIO(source) if isinstance(source, bytes) else str(source),
        width=clip.size[1],
        height=clip.size[0],
        num_threads=1,
    )
    window = centre_window(len(reader), clip)
    return Pictures(
        rgb_NHW3=reader.get_batch(window.wanted).asnumpy(),
        window=window,
        fps=reader.get_avg_fps(),
    )


class PyavPictures:
    """Seeks to the keyframe, decodes on, converts and scales (swscale) only the wanted frames."""

    def __init__(self) -> None:
        """Make the reformatter, whose swscale context is kept from clip to clip."""
        self._reformatter: VideoReformatter | None = None

    def __call__(self, source: Source, clip: BenchClip) -> Pictures:
        """As `Decode`."""
        # Made in the worker: it cannot be pickled.
        self._reformatter = self._reformatter or VideoReformatter()
        opened = io.BytesIO(source) if isinstance(source, bytes) else str(source)
        with av.open(opened, "r") as container:
            stream = container.streams.video[0]
            stream.codec_context.thread_type = ThreadType.NONE
            rate, base, start = stream.average_rate, stream.time_base, stream.start_time or 0
            if rate is None or base is None:
                raise ValueError("the video has no frame rate or no time base")
            window = centre_window(stream.frames, clip)
            wanted = {index: place for place, index in enumerate(window.wanted)}
            rgb_NHW3 = np.empty((len(wanted), *clip.size, 3), np.uint8)
            container.seek(start + int(min(wanted) / rate / base), stream=stream)
            for frame in container.decode(stream):
                index = round(((frame.pts or 0) - start) * base * rate)
                place = wanted.pop(index, None)
                if place is not None:
                    rgb_NHW3[place] = self._small(frame, clip.size)
                if not wanted:
                    break
        return Pictures(rgb_NHW3=rgb_NHW3, window=window, fps=float(rate))

    def _small(self, frame: av.VideoFrame, size: tuple[int, int]) -> NDArray[Any]:
        assert self._reformatter is not None
        return self._reformatter.reformat(
            frame,
            width=size[1],
            height=size[0],
            format="rgb24",
            interpolation=Interpolation.BILINEAR,
            threads=1,
        ).to_ndarray()


def resized(frames_NHW3: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """cv2's bilinear, written straight into the clip's own memory."""
    rgb_NHW3 = np.empty((len(frames_NHW3), *size, 3), np.uint8)
    for frame_HW3, small_HW3 in zip(frames_NHW3, rgb_NHW3, strict=True):
        cv2.resize(frame_HW3, size[::-1], dst=small_HW3, interpolation=cv2.INTER_LINEAR)
    return rgb_NHW3
