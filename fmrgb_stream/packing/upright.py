"""Decoded frames of any colour space and turn -> upright yuv420p BT.601 limited of one size."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter

from fmrgb_stream.clips.media import picture_colors
from fmrgb_stream.clips.streams import VideoProbe
from fmrgb_stream.errors import RejectedInput

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

_MATRICES: Final = {
    "bt601": Colorspace.ITU601,
    "bt709": Colorspace.ITU709,
    "bt2020": Colorspace.BT2020,
}
_FILTER: Final = Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.BITEXACT


@dataclass(slots=True)
class UprightConverter:
    """Decoded frames -> upright yuv420p BT.601 limited of one size. Keeps its swscale contexts."""

    video: VideoProbe
    width: int
    height: int
    _scaler: VideoReformatter = field(default_factory=VideoReformatter)
    _recolorer: VideoReformatter = field(default_factory=VideoReformatter)

    def __call__(self, frame: VideoFrame) -> VideoFrame:
        """Convert one frame.

        Raises:
            RejectedInput: it is far larger than the file announced.
        """
        if frame.width * frame.height > 4 * self.video.width * self.video.height:
            raise RejectedInput(
                f"the picture grows from {self.video.width}x{self.video.height} to "
                f"{frame.width}x{frame.height} on the way"
            )
        sideways = self.video.rotation_degrees in (90, 270)
        matrix, is_full = picture_colors(frame)
        scaled = self._scaler.reformat(
            frame,
            width=self.height if sideways else self.width,
            height=self.width if sideways else self.height,
            # Straight from one YCbCr to another, swscale darkens by 3 grey levels; by RGB by none.
            format="yuv420p" if matrix == "bt601" else "gbrp",
            src_colorspace=_MATRICES[matrix],
            dst_colorspace=Colorspace.ITU601,
            interpolation=_FILTER,
            src_color_range=ColorRange.JPEG if is_full else ColorRange.MPEG,
            dst_color_range=ColorRange.MPEG if matrix == "bt601" else ColorRange.JPEG,
            threads=1,
        )
        if matrix != "bt601":
            scaled = self._recolorer.reformat(
                scaled,
                format="yuv420p",
                src_colorspace=Colorspace.ITU601,
                dst_colorspace=Colorspace.ITU601,
                interpolation=_FILTER,
                src_color_range=ColorRange.JPEG,
                dst_color_range=ColorRange.MPEG,
                threads=1,
            )
        return _turned(scaled, self.video.rotation_degrees)


def _turned(frame: VideoFrame, degrees: int) -> VideoFrame:
    """The frame turned counter-clockwise, plane by plane."""
    if degrees == 0:
        return frame
    planes = []
    for plane, divisor in zip(frame.planes, (1, 2, 2), strict=True):
        width, height = frame.width // divisor, frame.height // divisor
        rows = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)[
            :height, :width
        ]
        planes.append(np.rot90(rows, degrees // 90))
    height, width = planes[0].shape
    packed = np.concatenate([plane.reshape(-1) for plane in planes])
    return av.VideoFrame.from_ndarray(packed.reshape(height * 3 // 2, width), format="yuv420p")
