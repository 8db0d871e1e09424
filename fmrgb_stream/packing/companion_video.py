"""A companion's stretch -> grey mp4 whose place k belongs to place k of the proxy, at its size.

Luma carries the values, in full range, so that 0..255 stay 0..255.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from fmrgb_stream.config import PackConfig
from fmrgb_stream.packing.crop import Crop, rgb_picture
from fmrgb_stream.packing.proxy import Proxy, encode_stretch
from fmrgb_stream.packing.stretch import Stretch, nearest_even, upright_size
from fmrgb_stream.packing.upright import UprightConverter

if TYPE_CHECKING:
    from av.video.frame import VideoFrame
    from numpy.typing import NDArray

_PLANE_OF: Final = {"flow": 2, "matte": 1}
_NO_COLOR: Final = 128


def encode_companion(
    kind: str,
    stretch: Stretch,
    config: PackConfig,
    *,
    crop: Crop | None,
    own: Stretch,
    size: tuple[int, int],
    scratch: Path,
) -> Proxy:
    """Decode, crop like the picture, scale and encode one stretch of a companion.

    Args:
        kind: `flow` or `matte`.
        stretch: of the companion.
        config: how it is encoded.
        crop: of the picture.
        own: the picture's stretch, whose pixels the crop counts in.
        size: (width, height) of the picture as it is stored.
        scratch: a folder for the file in the making.

    Raises:
        RejectedInput: the companion cannot be decoded.
        PackError: the scratch folder cannot be written to.
    """
    whole = [nearest_even(side) for side in upright_size(stretch.video)]
    squares_K3 = None
    if crop is not None and crop.squares_K3 is not None:
        scale = whole[0] / nearest_even(upright_size(own.video)[0])
        squares_K3 = crop.squares_K3 * scale
    convert = _GrayConverter(
        UprightConverter(stretch.video, whole[0], whole[1]), _PLANE_OF[kind], size, squares_K3
    )
    return encode_stretch(stretch, config, convert, size=size, is_full_range=True, scratch=scratch)


@dataclass(slots=True)
class _GrayConverter:
    """Decoded frames -> one of their planes as luma."""

    upright: UprightConverter
    plane: int
    size: tuple[int, int]
    squares_K3: NDArray[np.float64] | None
    _to_rgb: VideoReformatter = field(default_factory=VideoReformatter)

    def __call__(self, place: int, frame: VideoFrame) -> VideoFrame:
        """Convert one frame, by the square of this place of the grid."""
        from PIL import Image

        rgb_HWC = rgb_picture(self.upright(frame), self._to_rgb)
        picture = Image.fromarray(np.ascontiguousarray(rgb_HWC[..., self.plane]))
        box = None
        if self.squares_K3 is not None:
            x, y, side = self.squares_K3[place].tolist()
            left, top = max(0.0, x - side / 2), max(0.0, y - side / 2)
            box = (left, top, min(left + side, picture.width), min(top + side, picture.height))
        small = picture.resize(self.size, Image.Resampling.BILINEAR, box=box)
        width, height = self.size
        planes = np.full((height * 3 // 2, width), _NO_COLOR, np.uint8)
        planes[:height] = np.asarray(small)
        return av.VideoFrame.from_ndarray(planes, format="yuv420p")
