"""Encoded sample + frame indices -> upright RGB pictures at clip size."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter

from fmrgb_stream.config import VideoDecoder
from fmrgb_stream.errors import ConfigError, DecodeError
from fmrgb_stream.pipelines.cpu.files import decord_frames, pyav_frames
from fmrgb_stream.pipelines.cpu.gray_video import GrayVideoReader, apply_matte
from fmrgb_stream.pipelines.cpu.packets import PacketDecoder
from fmrgb_stream.sample import EncodedSample, SampleInfo

if TYPE_CHECKING:
    from numpy.typing import NDArray

# swscale widens the bilinear filter when it shrinks, which makes it the antialiased triangle.
# ACCURATE_RND keeps it away from the shortcut that repeats chroma pixels at equal size; BITEXACT
# gives the same bytes on every processor. Neither costs measurable time.
FILTER: Final = Interpolation.BILINEAR | Interpolation.ACCURATE_RND | Interpolation.BITEXACT
_COLORSPACES: Final = {
    "bt601": Colorspace.ITU601,
    "bt709": Colorspace.ITU709,
    "bt2020": Colorspace.BT2020,
}
_RANGES: Final = {"limited": ColorRange.MPEG, "full": ColorRange.JPEG}
# FFmpeg stores planar RGB as green, blue, red.
_GBR_OF_RGB: Final = (2, 0, 1)


def _quarter_turns(info: SampleInfo) -> int:
    """Counter-clockwise, 0 to 3, that show the stored picture upright."""
    return (info.rotation_degrees // 90) % 4


class VideoReader:
    """Decodes, converts and resizes frames. Belongs to one thread, whose codec state it keeps."""

    def __init__(self, decoder: VideoDecoder, *, size: tuple[int, int]) -> None:
        """Remember the decoder's name and the (height, width) of the pictures."""
        self._decoder: VideoDecoder = decoder
        self._height, self._width = size
        self._packets = PacketDecoder()
        self._reformatter = VideoReformatter()
        self._mattes = GrayVideoReader(size=size)

    def pictures(self, sample: EncodedSample, frame_indices: Sequence[int]) -> NDArray[np.uint8]:
        """uint8 [3, N, H, W] RGB 0..255, in the order of `frame_indices`; errors as `read`."""
        rgb_3NHW = np.empty((3, len(frame_indices), self._height, self._width), np.uint8)
        self.read(sample, frame_indices, [rgb_3NHW[:, n] for n in range(len(frame_indices))])
        return rgb_3NHW

    def read(
        self,
        sample: EncodedSample,
        frame_indices: Sequence[int],
        targets_3HW: Sequence[NDArray[np.uint8]],
    ) -> None:
        """Write each frame, RGB 0..255, into its target. `frame_indices` are all different.

        A sample that was read with its matte gives pictures multiplied by it.

        Raises:
            DecodeError: the codec refused the sample, or a frame is not there or not of the size
                in the index.
            ConfigError: `video_decoder="packets"` for a sample without indexed packets.
        """
        place_of = {index: place for place, index in enumerate(frame_indices)}
        is_upright = self._decoder == "decord"
        for index, frame in self._frames(sample, frame_indices):
            place = place_of.pop(index, None)
            self._check(frame, index, sample, is_upright=is_upright)
            if place is not None:
                self._resize(frame, sample.info, targets_3HW[place], is_upright=is_upright)
        if place_of:
            missing = sorted(place_of)
            raise DecodeError(
                f"{len(missing)} of {len(frame_indices)} wanted frames were not in the stream, "
                f"the first is {missing[0]}; the index says {sample.info.num_frames} frames",
                shard=sample.shard_url,
                key=sample.info.key,
            )
        if sample.matte is not None:
            mattes_NHW = self._mattes.planes(sample, sample.matte, frame_indices)
            for picture_3HW, matte_HW in zip(targets_3HW, mattes_NHW, strict=True):
                apply_matte(picture_3HW, matte_HW)

    def _frames(
        self, sample: EncodedSample, frame_indices: Sequence[int]
    ) -> Iterator[tuple[int, VideoFrame]]:
        num_frames = sample.info.num_frames
        if not all(0 <= index < num_frames for index in frame_indices):
            raise DecodeError(
                f"frame {max(frame_indices)} is wanted of {num_frames}",
                shard=sample.shard_url,
                key=sample.info.key,
            )
        if self._decoder == "decord":
            return decord_frames(sample, frame_indices)
        if self._decoder != "pyav" and self._packets.can_decode(sample):
            return self._packets.frames(sample, frame_indices)
        if self._decoder == "packets":
            raise ConfigError(
                f"video_decoder='packets' needs an index with H.264 packets, which sample "
                f"{sample.info.key!r} ({sample.info.codec}) has not; use 'auto' or 'pyav'"
            )
        return pyav_frames(sample, frame_indices)

    def _check(
        self, frame: VideoFrame, index: int, sample: EncodedSample, *, is_upright: bool
    ) -> None:
        info = sample.info
        expected = (info.width, info.height)
        if is_upright and _quarter_turns(info) % 2:
            expected = (info.height, info.width)
        if frame.is_corrupt:
            problem = f"the decoder marks frame {index} as corrupt"
        elif (frame.width, frame.height) != expected:
            problem = (
                f"frame {index} is {frame.width}x{frame.height} pixels, "
                f"the index says {expected[0]}x{expected[1]}"
            )
        else:
            return
        raise DecodeError(problem, shard=sample.shard_url, key=info.key)

    def _resize(
        self,
        frame: VideoFrame,
        info: SampleInfo,
        rgb_3HW: NDArray[np.uint8],
        *,
        is_upright: bool,
    ) -> None:
        quarter_turns = 0 if is_upright else _quarter_turns(info)
        lies = quarter_turns % 2 == 1
        is_rgb = frame.format.is_rgb
        resized = self._reformatter.reformat(
            frame,
            width=self._height if lies else self._width,
            height=self._width if lies else self._height,
            format="gbrp",
            interpolation=FILTER,
            src_colorspace=_COLORSPACES[info.color_matrix],
            src_color_range=ColorRange.JPEG if is_rgb else _RANGES[info.color_range],
            dst_color_range=ColorRange.JPEG,
            threads=1,
        )
        size, planes = (resized.height, resized.width), resized.planes
        for channel, plane_index in enumerate(_GBR_OF_RGB):
            plane = planes[plane_index]
            picture_HW = np.ndarray(size, np.uint8, plane, strides=(plane.line_size, 1))  # pyright: ignore[reportArgumentType, reportCallIssue]
            rgb_3HW[channel] = np.rot90(picture_HW, quarter_turns) if quarter_turns else picture_HW
