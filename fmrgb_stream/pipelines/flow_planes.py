"""Flow in fractions of its range -> uint8 planes, as `channels.py` defines them.

Shape legend: ... any dimensions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from fmrgb_stream.channels import FLOW, FLOW_SPAN_UV, FLOW_U, FLOW_V, FLOW_ZERO_UV, FULL_SCALE

if TYPE_CHECKING:
    from numpy.typing import NDArray

STILL_VALUES: Final = {FLOW: 0, FLOW_U: FLOW_ZERO_UV, FLOW_V: FLOW_ZERO_UV}
"""The uint8 value of no motion, by plane."""


def quantise_flow_plane(values: NDArray[np.float32], plane: str) -> NDArray[np.float32]:
    """The plane's uint8 values [...], still as float32 whole numbers.

    Magnitude: round(255 min(m, 1)). Direction planes: 128 + round(127 clip(u, -1, 1)).
    """
    if plane == FLOW:
        return np.rint(FULL_SCALE * np.minimum(values, 1.0))
    return FLOW_ZERO_UV + np.rint(FLOW_SPAN_UV * np.clip(values, -1.0, 1.0))
