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
class Plane:
    """One plane of a clip. One that was never measured goes from 0..1 to -2..2."""

    name: str = ""
    """As in `channels.py`; empty when it does not matter."""
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
            clip_BCTHW: uint8 0..255, or float planes 0..1 as `ClipConfig.dtype` gives them; pictures
                [B, C, H, W] too.

        Returns:
            Same shape; in autocast's dtype where it is on, else in that of the buffers.
        """
        unit = clip_BCTHW.to(self.mean.dtype)
        if clip_BCTHW.dtype == torch.uint8:
            unit = unit / FULL_SCALE
        on_plane_axis = (1, -1, *[1] * (clip_BCTHW.ndim - 2))
        normalised = (unit - self.mean.view(on_plane_axis)) * self.inverse_std.view(on_plane_axis)
        return normalised.to(_autocast_dtype(clip_BCTHW.device.type) or normalised.dtype)


def _autocast_dtype(device_type: str) -> torch.dtype | None:
    # The meta device, on which models are measured, has no autocast to ask.
    if device_type != "meta" and torch.is_autocast_enabled(device_type):
        return torch.get_autocast_dtype(device_type)
    return None
