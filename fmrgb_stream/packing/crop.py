"""One stretch of a video -> the squares to cut out of its pictures, around a face.

Pictures are looked at upright and small; squares count pixels of the whole upright picture.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any, Final

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter

from fmrgb_stream.config import PackConfig
from fmrgb_stream.errors import RejectedInput
from fmrgb_stream.packing.face_path import (
    centre_squares,
    face_squares,
    follow_face,
    squares_inside,
)
from fmrgb_stream.packing.faces import FaceBox, FaceDetector, load_face_detector
from fmrgb_stream.packing.stretch import Stretch, nearest_even, stretch_frames, upright_size
from fmrgb_stream.packing.upright import UprightConverter

if TYPE_CHECKING:
    from av.video.frame import VideoFrame
    from numpy.typing import NDArray

LOOK_EVERY_SECONDS: Final = 0.2
LOOK_LONG_SIDE: Final = 480
"""Pixels of the picture that is searched; of a face, 12 are enough."""
_EXACT: Final = Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.BITEXACT


@dataclass(frozen=True, slots=True, kw_only=True)
class Crop:
    """What is cut out of each picture of a sample."""

    rule: str
    """For the index: `face-tracked`, `face-middle`, `center`, or `full`: nothing is cut off."""
    squares_K3: NDArray[np.float64] | None
    """float64 [K, 3]: centre x, centre y and side for each place of the grid; None with `full`."""
    side: int
    """Pixels of the square that is stored; 0 with `full`."""
    looked_at: tuple[int, ...]
    """Places of the grid that faces were looked for in."""
    num_found: int
    """How many of them showed the face."""

    def as_json(self) -> dict[str, Any]:
        """For the sample's json member: squares as [place, left, top, side] where it was looked."""
        squares: list[list[float]] = []
        if self.squares_K3 is not None:
            for place in self.looked_at:
                x, y, side = self.squares_K3[place].tolist()
                squares.append([place, *(round(v, 2) for v in (x - side / 2, y - side / 2, side))])
        return {"rule": self.rule, "num_found": self.num_found, "squares": squares}


def find_crop(
    stretch: Stretch, config: PackConfig, *, detect: FaceDetector | None = None
) -> Crop | None:
    """Where the face is, by `config.crop_box`; None when nothing is to be cropped.

    Args:
        stretch: the sample's frames.
        config: what is to be cropped, and how.
        detect: finds faces; None is `load_face_detector`.

    Raises:
        RejectedInput: there is no face and `no_face` is `reject`, or the video cannot be decoded.
        MissingExtraError: the detector is not installed.
    """
    if config.crop == "none":
        return None
    num_places, fps = len(stretch.shown), float(stretch.fps)
    if config.crop_box == "middle":
        places = [num_places // 2]
    else:
        step = max(1, round(LOOK_EVERY_SECONDS * fps))
        places = sorted({*range(0, num_places, step), num_places - 1})
    boxes = follow_face(_look(stretch, places, detect or _detector()))
    num_found = sum(box is not None for box in boxes)
    width, height = (nearest_even(side) for side in upright_size(stretch.video))
    if num_found:
        rule = f"face-{config.crop_box}"
        squares_K3 = face_squares(
            boxes,
            np.array(places, np.int64),
            num_frames=num_places,
            fps=fps,
            margin=config.crop_margin,
        )
        squares_K3 = squares_inside(squares_K3, width=width, height=height)
    elif config.no_face == "reject":
        raise RejectedInput(
            f"no face in any of {len(places)} frames that were looked at; no_face='full' packs the "
            "whole picture, 'center' the square in its middle"
        )
    else:
        rule = config.no_face
        squares_K3 = centre_squares(num_frames=num_places, width=width, height=height)
    if rule == "full":
        return Crop(rule=rule, squares_K3=None, side=0, looked_at=tuple(places), num_found=0)
    return Crop(
        rule=rule,
        squares_K3=squares_K3,
        side=_stored_side(float(np.median(squares_K3[:, 2])), config),
        looked_at=tuple(places),
        num_found=num_found,
    )


def _stored_side(side: float, config: PackConfig) -> int:
    """Even, never enlarged."""
    wanted = side / config.mag if config.mag is not None else min(side, config.short_side)
    return nearest_even(wanted)


@cache
def _detector() -> FaceDetector:
    return load_face_detector()


def _look(stretch: Stretch, places: list[int], detect: FaceDetector) -> list[list[FaceBox]]:
    """The faces at each of the places, in pixels of the whole upright picture."""
    whole_width, whole_height = upright_size(stretch.video)
    scale = min(1.0, LOOK_LONG_SIDE / max(whole_width, whole_height))
    size = nearest_even(whole_width * scale), nearest_even(whole_height * scale)
    convert, to_rgb = UprightConverter(stretch.video, *size), VideoReformatter()
    wanted = {int(stretch.shown[place]) for place in places}
    last, found = max(wanted), dict[int, list[FaceBox]]()
    for index, frame in stretch_frames(stretch):
        if index in wanted:
            boxes = detect(rgb_picture(convert(frame), to_rgb))
            found[index] = [box.scaled(whole_width / size[0]) for box in boxes]
        if index >= last:
            break
    return [found.get(int(stretch.shown[place]), []) for place in places]


def rgb_picture(frame: VideoFrame, reformatter: VideoReformatter) -> NDArray[np.uint8]:
    """uint8 [H, W, 3] of an upright yuv420p frame."""
    picture = reformatter.reformat(
        frame,
        format="rgb24",
        src_colorspace=Colorspace.ITU601,
        src_color_range=ColorRange.MPEG,
        dst_color_range=ColorRange.JPEG,
        interpolation=_EXACT,
        threads=1,
    )
    return np.ascontiguousarray(picture.to_ndarray(), dtype=np.uint8)


@dataclass(slots=True)
class CropConverter:
    """Decoded frames -> what the crop leaves of them, upright yuv420p BT.601 limited of one size."""

    upright: UprightConverter
    """To the whole picture."""
    squares_K3: NDArray[np.float64]
    side: int
    _to_rgb: VideoReformatter = field(default_factory=VideoReformatter)
    _to_yuv: VideoReformatter = field(default_factory=VideoReformatter)

    def __call__(self, place: int, frame: VideoFrame) -> VideoFrame:
        """Convert one frame by the square of this place of the grid.

        Squares begin and end between pixels, so that a slow path does not step: Pillow resizes such
        boxes, with antialiasing.
        """
        from PIL import Image

        x, y, side = self.squares_K3[place].tolist()
        picture = Image.fromarray(rgb_picture(self.upright(frame), self._to_rgb))
        left, top = max(0.0, x - side / 2), max(0.0, y - side / 2)
        box = (left, top, min(left + side, picture.width), min(top + side, picture.height))
        square = picture.resize((self.side, self.side), Image.Resampling.BICUBIC, box=box)
        return self._to_yuv.reformat(
            av.VideoFrame.from_ndarray(np.asarray(square), format="rgb24"),
            format="yuv420p",
            src_color_range=ColorRange.JPEG,
            dst_colorspace=Colorspace.ITU601,
            dst_color_range=ColorRange.MPEG,
            interpolation=_EXACT,
            threads=1,
        )
