"""Flow fields in pixels -> flow planes, as `channels.py` defines them. Free of torch and codecs.

Shape legend: T clip frames, H height, W width.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from fmrgb_stream.channels import FLOW, FLOW_SPAN_UV, FLOW_U, FLOW_ZERO_UV, FULL_SCALE

if TYPE_CHECKING:
    from numpy.typing import NDArray

FLOW_U_INDEX: Final = 0
"""Place of the rightward motion in a flow field [..., 2, H, W]; the downward motion is at 1."""


def flow_plane(
    flow_T2HW: NDArray[np.float32], plane: str, *, max_pixels: float
) -> NDArray[np.float32]:
    """One plane in its unquantised unit, float32 [T, H, W].

    `flow` is sqrt(u^2 + v^2) / max_pixels, `flow_u` is u / max_pixels, `flow_v` is v / max_pixels.
    """
    u_THW, v_THW = flow_T2HW[:, FLOW_U_INDEX], flow_T2HW[:, 1 - FLOW_U_INDEX]
    if plane == FLOW:
        # A third of np.hypot's time; pixels do not overflow when squared.
        pixels_THW = np.sqrt(u_THW * u_THW + v_THW * v_THW)
        return np.divide(pixels_THW, max_pixels, dtype=np.float32)
    return np.divide(u_THW if plane == FLOW_U else v_THW, max_pixels, dtype=np.float32)


def quantise_flow_plane(values: NDArray[np.float32], plane: str) -> NDArray[np.float32]:
    """The plane's uint8 values, still as float32 whole numbers.

    Magnitude: round(255 min(m, 1)). Direction planes: 128 + round(127 clip(u, -1, 1)).
    """
    if plane == FLOW:
        return np.rint(FULL_SCALE * np.minimum(values, 1.0))
    return FLOW_ZERO_UV + np.rint(FLOW_SPAN_UV * np.clip(values, -1.0, 1.0))
