"""Which frames of a clip count, and what is done so that the others never do.

Shape legend: B batch, C channels, T frames, H height, W width, D features.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional


def valid_frames_mask(num_valid_frames_B: Tensor, num_frames: int) -> Tensor:
    """Mask [B, T] of bool: the frames that count; a clip that says it has none counts its first one."""
    frames_T = torch.arange(num_frames, device=num_valid_frames_B.device)
    return frames_T < num_valid_frames_B.clamp(min=1)[:, None]


def frames_mask(clip_BCTHW: Tensor, num_valid_frames_B: Tensor | None) -> Tensor:
    """Mask [B, T] of bool on the clip's device; None counts all frames."""
    batch_size, _, num_frames = clip_BCTHW.shape[:3]
    if num_valid_frames_B is None:
        return torch.ones((batch_size, num_frames), dtype=torch.bool, device=clip_BCTHW.device)
    return valid_frames_mask(num_valid_frames_B, num_frames)


def repeat_valid_frames(clip_BCTHW: Tensor, num_valid_frames_B: Tensor | None) -> Tensor:
    """The clip with its padding replaced by its own frames from the start, over and over.

    Batch statistics and convolutions over time then see pictures only, and shapes stay fixed.
    Copies the clip; None means there is no padding.
    """
    if num_valid_frames_B is None:
        return clip_BCTHW
    num_frames = clip_BCTHW.shape[2]
    frames_T = torch.arange(num_frames, device=clip_BCTHW.device)
    source_BT = frames_T % num_valid_frames_B.clamp(min=1)[:, None]
    index = source_BT[:, None, :, None, None].expand_as(clip_BCTHW)
    return clip_BCTHW.gather(2, index)


def last_valid(features_BTD: Tensor, mask_BT: Tensor) -> Tensor:
    """[B, T, D] -> [B, D] at each clip's last frame that counts."""
    last_B = mask_BT.sum(1) - 1
    index = last_B[:, None, None].expand(-1, 1, features_BTD.shape[2])
    return features_BTD.gather(1, index)[:, 0]


def middle_frame(clip_BCTHW: Tensor, num_valid_frames_B: Tensor | None) -> Tensor:
    """[B, C, T, H, W] -> [B, C, 1, H, W]: frame n // 2 of the n that count."""
    middle_B = frames_mask(clip_BCTHW, num_valid_frames_B).sum(1) // 2
    batch_size, num_channels, _, height, width = clip_BCTHW.shape
    index = middle_B.view(-1, 1, 1, 1, 1)
    return clip_BCTHW.gather(2, index.expand(batch_size, num_channels, 1, height, width))


def resize_pictures(images_NCHW: Tensor, size: tuple[int, int]) -> Tensor:
    """Antialiased bilinear resize of float pictures; those that fit are returned as they are."""
    if images_NCHW.shape[2:] == size:
        return images_NCHW
    # Half precision has no antialiased resize on every device.
    wide = images_NCHW if images_NCHW.dtype == torch.float64 else images_NCHW.float()
    resized = functional.interpolate(wide, size, mode="bilinear", antialias=True)
    return resized.to(images_NCHW.dtype)


def time_positions(num_frames: int, num_features: int, *, like: Tensor) -> Tensor:
    """Sine and cosine position of each frame, [T, D], for any T (Vaswani et al. 2017, 3.5)."""
    half = (num_features + 1) // 2
    frames_T = torch.arange(num_frames, device=like.device, dtype=torch.float32)
    rates = torch.arange(half, device=like.device, dtype=torch.float32) / half
    angles = frames_T[:, None] * torch.exp(-math.log(10_000.0) * rates)
    return torch.cat([angles.sin(), angles.cos()], dim=1)[:, :num_features].to(like.dtype)
