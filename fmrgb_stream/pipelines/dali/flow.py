"""Pictures -> motion by the GPU's optical flow engine: its node, and its field in clip pixels.

Shape legend: B clips, T clip frames, H height, W width, h and w the engine's grid.
"""

from __future__ import annotations

from typing import Any, Final

import torch.nn.functional as F
from torch import Tensor

from fmrgb_stream.pipelines.dali.library import load_dali

GRID_PIXELS: Final = 4
"""Pixels of the picture to one vector; the one grid that every engine has."""


def engine_flow(pictures: Any) -> Any:
    """float32 [T, h, w, 2], between each two pictures of uint8 [1 + T, H, W, 3]; on a GPU."""
    return load_dali().fn.optical_flow(pictures, output_grid=GRID_PIXELS, preset=0.5)


def clip_field(flow_BThw2: Tensor, *, sign: int, size: tuple[int, int]) -> Tensor:
    """float32 [B, T, 2, H, W] pixels: the engine's vectors between their places, linearly.

    `sign` is +1 where the engine's vectors point from the earlier picture to the later one.
    """
    height, width = size
    batch, frames, rows, columns = flow_BThw2.shape[:4]
    grid_N2hw = flow_BThw2.flatten(0, 1).permute(0, 3, 1, 2) * sign
    dense = F.interpolate(
        grid_N2hw,
        size=(rows * GRID_PIXELS, columns * GRID_PIXELS),
        mode="bilinear",
        align_corners=False,
    )
    return dense[..., :height, :width].unflatten(0, (batch, frames))
