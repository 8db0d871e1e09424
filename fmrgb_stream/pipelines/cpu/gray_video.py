"""A grey video that goes with the picture (packed flow, matte) -> its luma at clip size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from av.video.reformatter import ColorRange, Interpolation, VideoReformatter

from fmrgb_stream.clips.media import picture_colors
from fmrgb_stream.errors import DecodeError
from fmrgb_stream.pipelines.cpu.files import pyav_frames
from fmrgb_stream.sample import EncodedSample

if TYPE_CHECKING:
    from numpy.typing import NDArray

_FILTER = Interpolation.BILINEAR | Interpolation.ACCURATE_RND | Interpolation.BITEXACT


class GrayVideoReader:
    """Decodes and resizes luma. Belongs to one thread."""

    def __init__(self, *, size: tuple[int, int]) -> None:
        """Remember the (height, width) of the planes."""
        self._height, self._width = size
        self._reformatter = VideoReformatter()

    def planes(
        self, sample: EncodedSample, content: memoryview, frame_indices: Sequence[int]
    ) -> NDArray[np.uint8]:
        """uint8 [N, H, W] in the order of `frame_indices`, which are all different.

        Raises:
            DecodeError: the codec refuses the member, or it lacks a frame.
        """
        planes_NHW = np.empty((len(frame_indices), self._height, self._width), np.uint8)
        place_of = {index: place for place, index in enumerate(frame_indices)}
        for index, frame in pyav_frames(replace(sample, video=content), frame_indices):
            place = place_of.pop(index, None)
            if place is None:
                continue
            _, is_full = picture_colors(frame)  # ours are; those of other makers may be limited
            gray = self._reformatter.reformat(
                frame,
                width=self._width,
                height=self._height,
                format="gray",
                interpolation=_FILTER,
                src_color_range=ColorRange.JPEG if is_full else ColorRange.MPEG,
                dst_color_range=ColorRange.JPEG,
                threads=1,
            )
            planes_NHW[place] = gray.to_ndarray()
        if place_of:
            raise DecodeError(
                f"{len(place_of)} of {len(frame_indices)} wanted frames were not in the flow video "
                f"or matte, the first is {min(place_of)}",
                shard=sample.shard_url,
                key=sample.info.key,
            )
        return planes_NHW


def apply_matte(picture_3HW: NDArray[np.uint8], matte_HW: NDArray[np.uint8]) -> None:
    """Multiply a picture by its matte in place: round(v m / 255)."""
    product_3HW = np.multiply(picture_3HW, matte_HW, dtype=np.uint16)
    # round(x / 255) for x up to 255 * 255, without a division (Blinn 1995, "Three wrongs make a right").
    product_3HW += 128
    product_3HW += product_3HW >> 8
    picture_3HW[...] = product_3HW >> 8
