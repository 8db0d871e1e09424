"""Clip as it travels (uint8 [B, C, T, H, W]) -> normalised float planes for a backbone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import torch
from torch import Tensor, nn

from fmrgb_stream.channels import FULL_SCALE

SMALLEST_STD: Final = 1 / FULL_SCALE
"""One grey level; a constant plane (all clips silent, say) must not become infinite."""


class HasMeanAndStd(Protocol):
    """Statistics of one plane, e.g. `ChannelStats` of a dataset's manifest; both in 0..1."""

    @property
    def mean(self) -> float:
        """Mean of value / 255."""
        ...

    @property
    def std(self) -> float:
        """Standard deviation of value / 255."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class NeutralStats:
    """For planes that were never measured: 0..1 becomes -2..2."""

    mean: float = 0.5
    std: float = 0.25


class ClipStem(nn.Module):
    """Scales a clip to 0..1 and subtracts the mean and divides by the deviation of each plane."""

    mean: Tensor
    inverse_std: Tensor

    def __init__(self, stats: Sequence[HasMeanAndStd]) -> None:
        """Keep the statistics as buffers, so that a checkpoint carries them."""
        super().__init__()
        deviations = [max(plane.std, SMALLEST_STD) for plane in stats]
        self.register_buffer("mean", torch.tensor([plane.mean for plane in stats]))
        self.register_buffer("inverse_std", 1 / torch.tensor(deviations))

    def forward(self, clip_BCTHW: Tensor) -> Tensor:
        """Normalise a clip.

        Args:
            clip_BCTHW: uint8 0..255, or float planes 0..1 as `ClipConfig.dtype` gives them.

        Returns:
            Same shape; in autocast's dtype where it is on, else in that of the buffers.
        """
        unit = clip_BCTHW.to(self.mean.dtype)
        if clip_BCTHW.dtype == torch.uint8:
            unit = unit / FULL_SCALE
        normalised = (unit - _on_plane_axis(self.mean)) * _on_plane_axis(self.inverse_std)
        device_type = clip_BCTHW.device.type
        if torch.is_autocast_enabled(device_type):
            return normalised.to(torch.get_autocast_dtype(device_type))
        return normalised


def _on_plane_axis(values_C: Tensor) -> Tensor:
    return values_C.view(1, -1, 1, 1, 1)
