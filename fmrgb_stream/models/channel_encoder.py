"""Clip -> a sequence of states for every plane on its own: an image backbone, then an LSTM.

Shape legend: B batch, C channels, T frames, H height, W width, D features.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from fmrgb_stream.models.backbone import ImageBackbone
from fmrgb_stream.models.frames import repeat_valid_frames
from fmrgb_stream.models.stem import ClipStem, Plane


class ChannelEncoder(nn.Module):
    """One encoder a plane, or one for all of them."""

    def __init__(
        self,
        backbone: str,
        planes: Sequence[Plane],
        *,
        width: int,
        is_shared: bool,
        pretrained: bool = False,
        freeze: bool = False,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        """Build the encoders; `width` is D, the other arguments are those of `ImageBackbone`."""
        super().__init__()
        self.stem = ClipStem(planes)
        read_by_each = [(Plane(),)] if is_shared else [(plane,) for plane in planes]
        self.encoders = nn.ModuleList(
            _PlaneEncoder(
                ImageBackbone(
                    backbone, read, pretrained=pretrained, freeze=freeze, options=options
                ),
                width,
            )
            for read in read_by_each
        )

    def forward(self, clip_BCTHW: Tensor, num_valid_frames_B: Tensor | None) -> Tensor:
        """Float [B, C, T, D]; the states of padding frames must not count."""
        planes = self.stem(repeat_valid_frames(clip_BCTHW, num_valid_frames_B))
        batch_size, num_channels = planes.shape[:2]
        if len(self.encoders) == 1:
            folded = planes.flatten(0, 1)
            return self.encoders[0](folded).unflatten(0, (batch_size, num_channels))
        states = [encoder(planes[:, c]) for c, encoder in enumerate(self.encoders)]
        return torch.stack(states, dim=1)


class _PlaneEncoder(nn.Module):
    """Frames of one plane -> LSTM states."""

    def __init__(self, backbone: ImageBackbone, width: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.lstm = nn.LSTM(backbone.num_features, width, batch_first=True)

    def forward(self, plane_BTHW: Tensor) -> Tensor:
        """Float [B, T, H, W] -> [B, T, D]."""
        images = plane_BTHW.flatten(0, 1)[:, None]
        features = self.backbone(images).unflatten(0, plane_BTHW.shape[:2])
        return self.lstm(features)[0]
