"""Pairs of grey frames -> dense flow in pixels, by pyramidal Lucas-Kanade in torch on any device.

Lucas & Kanade, "An Iterative Image Registration Technique", IJCAI 1981, with the coarse-to-fine
scheme of Bouguet, "Pyramidal Implementation of the Lucas Kanade Feature Tracker", Intel 2000, for
every pixel. Deterministic: no random numbers, no atomics, and no pair looks at another pair.

Shape legend: N pairs, H height, W width.
"""

from __future__ import annotations

import math
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor

MAX_LEVELS: Final = 4
MIN_LEVEL_SIDE: Final = 8
"""Pixels of the shorter side of the coarsest level."""
WINDOW_SIGMA_PIXELS: Final = 3.0
"""Standard deviation of the Gaussian under which motion is taken to be constant."""
PYRAMID_SIGMA_PIXELS: Final = 1.0
"""Blur before every second pixel is dropped."""
NUM_ITERATIONS: Final = 3
"""Warps a level."""
MAX_STEP_PIXELS: Final = 1.0
"""Largest change of u or v in one warp: beyond it the linearisation says nothing."""
REGULARISER: Final = 1e-4
"""Added to the structure tensor's diagonal (grey levels in 0..1): flat areas get no motion."""


def lucas_kanade_flow(before_NHW: Tensor, after_NHW: Tensor) -> Tensor:
    """Motion of each pixel from `before` to `after`.

    Args:
        before_NHW: grey values 0..255, uint8 or float.
        after_NHW: the same shape.

    Returns:
        float32 [N, 2, H, W] on the same device, in pixels; plane 0 is positive to the right,
        plane 1 downward. Exactly 0 for identical frames.
    """
    before = [before_NHW.float().div(255.0).unsqueeze(1)]
    after = [after_NHW.float().div(255.0).unsqueeze(1)]
    while len(before) < MAX_LEVELS and min(before[-1].shape[-2:]) >= 2 * MIN_LEVEL_SIDE:
        before.append(_halve(before[-1]))
        after.append(_halve(after[-1]))
    flow_N2HW = torch.zeros_like(before[-1]).repeat(1, 2, 1, 1)
    for before_N1HW, after_N1HW in zip(reversed(before), reversed(after), strict=True):
        flow_N2HW = _refine(_enlarge(flow_N2HW, before_N1HW.shape), before_N1HW, after_N1HW)
    is_same = (before_NHW == after_NHW).flatten(1).all(dim=1)
    return flow_N2HW.masked_fill(is_same[:, None, None, None], 0.0)


def _refine(flow_N2HW: Tensor, before_N1HW: Tensor, after_N1HW: Tensor) -> Tensor:
    dx, dy = _gradients(before_N1HW)
    blurred = _blur(torch.cat([dx * dx, dx * dy, dy * dy], dim=1), WINDOW_SIGMA_PIXELS)
    xx, xy, yy = blurred.split(1, dim=1)
    xx, yy = xx + REGULARISER, yy + REGULARISER
    determinant = xx * yy - xy * xy
    for _ in range(NUM_ITERATIONS):
        error = _warp_error(before_N1HW, after_N1HW, flow_N2HW)
        x_error, y_error = _blur(
            torch.cat([dx * error, dy * error], dim=1), WINDOW_SIGMA_PIXELS
        ).split(1, dim=1)
        step = torch.cat([xy * y_error - yy * x_error, xy * x_error - xx * y_error], dim=1)
        flow_N2HW = flow_N2HW + (step / determinant).clamp(-MAX_STEP_PIXELS, MAX_STEP_PIXELS)
    return flow_N2HW


def _gradients(image_N1HW: Tensor) -> tuple[Tensor, Tensor]:
    padded = F.pad(image_N1HW, (1, 1, 1, 1), mode="replicate")
    dx = (padded[..., 1:-1, 2:] - padded[..., 1:-1, :-2]) / 2
    dy = (padded[..., 2:, 1:-1] - padded[..., :-2, 1:-1]) / 2
    return dx, dy


def _blur(planes_NCHW: Tensor, sigma_pixels: float) -> Tensor:
    # Sums of shifted pictures: several times as fast on a CPU as conv2d with one channel.
    radius = round(2 * sigma_pixels)
    weights = [math.exp(-0.5 * (i / sigma_pixels) ** 2) for i in range(-radius, radius + 1)]
    height, width = planes_NCHW.shape[-2:]
    padded = F.pad(planes_NCHW, (radius, radius, radius, radius), mode="replicate")
    rows = weights[0] * padded[..., :height, :]
    for i in range(1, len(weights)):
        rows.add_(padded[..., i : i + height, :], alpha=weights[i])
    blurred = weights[0] * rows[..., :width]
    for i in range(1, len(weights)):
        blurred.add_(rows[..., i : i + width], alpha=weights[i])
    return blurred.div_(sum(weights) ** 2)


def _halve(image_N1HW: Tensor) -> Tensor:
    return _blur(image_N1HW, PYRAMID_SIGMA_PIXELS)[..., ::2, ::2]


def _enlarge(flow_N2HW: Tensor, shape: torch.Size) -> Tensor:
    height, width = shape[-2:]
    if flow_N2HW.shape[-2:] == shape[-2:]:
        return flow_N2HW
    # Pixel i of a level lies at pixel 2 i of the finer one (see _halve).
    rows = torch.arange(height, device=flow_N2HW.device) / 2
    columns = torch.arange(width, device=flow_N2HW.device) / 2
    return 2 * _sample(
        flow_N2HW, rows[:, None].expand(height, width), columns.expand(height, width)
    )


def _warp_error(before_N1HW: Tensor, after_N1HW: Tensor, flow_N2HW: Tensor) -> Tensor:
    height, width = before_N1HW.shape[-2:]
    rows = torch.arange(height, device=flow_N2HW.device)[:, None] + flow_N2HW[:, 1]
    columns = torch.arange(width, device=flow_N2HW.device) + flow_N2HW[:, 0]
    # What left the picture gives no evidence; without this, flow runs away along the border.
    is_inside = (rows >= 0) & (rows <= height - 1) & (columns >= 0) & (columns <= width - 1)
    return (_sample(after_N1HW, rows, columns) - before_N1HW) * is_inside.unsqueeze(1)


def _sample(planes_NCHW: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    height, width = planes_NCHW.shape[-2:]
    grid = torch.stack(
        [columns * (2 / max(width - 1, 1)) - 1, rows * (2 / max(height - 1, 1)) - 1], dim=-1
    )
    if grid.ndim == 3:
        grid = grid.expand(planes_NCHW.shape[0], *grid.shape)
    return F.grid_sample(planes_NCHW, grid, padding_mode="border", align_corners=True)
