"""Frames, motion and audio planes of a batch -> its clip tensor, in torch on any device.

Shape legend: B clips, N frames of each (the lead frame, then the clip's), T clip frames, C planes,
H height, W width.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

from fmrgb_stream.channels import (
    FLOW,
    FLOW_SPAN_UV,
    FLOW_U,
    FLOW_ZERO_UV,
    FULL_SCALE,
    GRAY,
    LUMA_WEIGHTS,
    MEL,
    RGB_PLANES,
)
from fmrgb_stream.config import ClipConfig
from fmrgb_stream.pipelines.lucas_kanade import lucas_kanade_flow

CPU_PAIR_PIXELS: Final = 16 * 112 * 112
GPU_PAIR_PIXELS: Final = 1024 * 112 * 112
"""Of pairs that are estimated together: as many as fit a core's cache, or fill a GPU."""


def blend_frames(frames_BKHW3: Tensor, weights_BT: Tensor) -> Tensor:
    """uint8 [B, 1 + T, H, W, 3]: the lead frame, and the first frames mixed with the second ones.

    Args:
        frames_BKHW3: uint8, K = 1 + T + T: lead, first and second frames.
        weights_BT: float32 in 0..1: weight of the second frame; blends are rounded to 8 bits.
    """
    num_shown = 1 + weights_BT.shape[1]
    first, second = frames_BKHW3[:, 1:num_shown], frames_BKHW3[:, num_shown:]
    weights = weights_BT[:, :, None, None, None]
    mixed = ((1 - weights) * first + weights * second).round().to(torch.uint8)
    return torch.cat([frames_BKHW3[:, :1], mixed], dim=1)


def gray_frames(frames_BNHW3: Tensor) -> Tensor:
    """uint8 [B, N, H, W]: 0.299 R + 0.587 G + 0.114 B, rounded."""
    return _luma(frames_BNHW3).round().to(torch.uint8)


def estimate_motion(gray_BNHW: Tensor, pairs_P: Tensor) -> Tensor:
    """float32 [B, T, 2, H, W] pixels from frame k to frame k + 1, by Lucas-Kanade.

    Args:
        gray_BNHW: uint8, N = 1 + T.
        pairs_P: int64 on the same device: b * T + k of the pairs to estimate. The motion of all
            others is 0 and nothing is computed for them.
    """
    before, after = (x.flatten(0, 1) for x in (gray_BNHW[:, :-1], gray_BNHW[:, 1:]))
    flow = torch.zeros((len(before), 2, *before.shape[1:]), device=before.device)
    pixels = CPU_PAIR_PIXELS if before.device.type == "cpu" else GPU_PAIR_PIXELS
    num_together = max(1, pixels // (before.shape[1] * before.shape[2]))
    for some in pairs_P.split(num_together):
        chosen = before.index_select(0, some), after.index_select(0, some)
        flow.index_copy_(0, some, lucas_kanade_flow(*chosen))
    return flow.unflatten(0, (gray_BNHW.shape[0], -1))


def still_where(flow_BT2HW: Tensor, gray_BNHW: Tensor, moves_BT: Tensor) -> Tensor:
    """The same motion, but 0 where none can be told and between identical frames.

    Args:
        flow_BT2HW: float32 pixels.
        gray_BNHW: uint8, N = 1 + T.
        moves_BT: bool on the same device; False where no motion can be told.
    """
    is_same = (gray_BNHW[:, 1:] == gray_BNHW[:, :-1]).flatten(2).all(dim=2)
    is_still = is_same | ~moves_BT
    return flow_BT2HW.masked_fill(is_still[:, :, None, None, None], 0.0)


def compose_clips(
    *,
    clip: ClipConfig,
    frames_BNHW3: Tensor | None,
    flow_BT2HW: Tensor | None,
    audio_BTHW: Tensor | None,
    is_shown_BT: Tensor,
) -> Tensor:
    """[B, C, T, H, W] of the clip's dtype, as `channels.py` defines its planes.

    Args:
        clip: which planes, and their ranges.
        frames_BNHW3: uint8, N = 1 + T; None where no plane is made of frames.
        flow_BT2HW: float32 pixels of the clip; None without a flow plane.
        audio_BTHW: float32 0..1; None without an audio plane.
        is_shown_BT: bool; all planes of other frames are 0.
    """
    batch, frames = is_shown_BT.shape
    dtype: torch.dtype = getattr(torch, clip.dtype)
    shape = (batch, len(clip.planes), frames, *clip.size)
    planes_BCTHW = torch.empty(shape, dtype=dtype, device=is_shown_BT.device)
    for place, name in enumerate(clip.planes):
        if name == MEL and audio_BTHW is not None:
            values, is_unit = audio_BTHW, True
        elif name in (*RGB_PLANES, GRAY) and frames_BNHW3 is not None:
            values, is_unit = _picture_plane(frames_BNHW3[:, 1:], name), False
        elif flow_BT2HW is not None:
            values, is_unit = _flow_plane(flow_BT2HW, name, clip), clip.dtype != "uint8"
        else:
            raise AssertionError(f"nothing was given to make the plane {name} of")
        planes_BCTHW[:, place] = _as_dtype(values, dtype, is_unit=is_unit)
    is_shown = is_shown_BT[:, None, :, None, None]
    return planes_BCTHW.masked_fill_(~is_shown, 0)


def _as_dtype(values: Tensor, dtype: torch.dtype, *, is_unit: bool) -> Tensor:
    """Values of 0..1 (`is_unit`) or 0..255 -> uint8 0..255 or floats 0..1."""
    if dtype == torch.uint8:
        return (values * FULL_SCALE).round() if is_unit else values.round()
    return values if is_unit else values.float() / FULL_SCALE


def _luma(frames_BNHW3: Tensor) -> Tensor:
    # Numbers, not a tensor of weights: that would have to come from the host for every batch.
    red, green, blue = (frames_BNHW3[..., c].float() * w for c, w in enumerate(LUMA_WEIGHTS))
    return red + green + blue


def _picture_plane(frames_BTHW3: Tensor, name: str) -> Tensor:
    if name == GRAY:
        return _luma(frames_BTHW3)
    return frames_BTHW3[..., RGB_PLANES.index(name)].float()


def _flow_plane(flow_BT2HW: Tensor, name: str, clip: ClipConfig) -> Tensor:
    """uint8 values, still as floats, where the clip is uint8; else fractions of the range."""
    if name == FLOW:
        values = torch.linalg.vector_norm(flow_BT2HW, dim=2) / clip.flow.max_pixels
        return values if clip.dtype != "uint8" else FULL_SCALE * values.clamp(max=1.0)
    values = flow_BT2HW[:, :, 0 if name == FLOW_U else 1] / clip.flow.max_pixels
    if clip.dtype != "uint8":
        return values
    return FLOW_ZERO_UV + (FLOW_SPAN_UV * values.clamp(-1.0, 1.0)).round()
