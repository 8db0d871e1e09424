"""Clip -> logits: every plane has its encoder; the others are aligned in time with the first.

S0's multichannel network, its attention over time. Shape legend: B batch, C channels, T frames,
D features, K outputs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from fmrgb_stream.models.channel_encoder import ChannelEncoder
from fmrgb_stream.models.frames import frames_mask, last_valid
from fmrgb_stream.models.interface import ClipModel
from fmrgb_stream.models.layers import classifier
from fmrgb_stream.models.stem import Plane


class MultiChannel(ClipModel):
    """An encoder a plane (or a shared one), attention to the first plane, the mean over planes."""

    def __init__(
        self,
        backbone: str,
        *,
        num_outputs: int,
        planes: Sequence[Plane],
        pretrained: bool = False,
        freeze_backbone: bool = False,
        is_shared: bool = False,
        width: int = 256,
        num_heads: int = 4,
        drop_rate: float = 0.0,
        backbone_options: Mapping[str, Any] | None = None,
    ) -> None:
        """Build encoders, attention and head.

        Args:
            backbone: A timm model name, or `smallcnn`.
            num_outputs: K, classes or regression targets.
            planes: Name, mean and deviation of each of the C planes.
            pretrained: Load timm's weights, adapted to one plane.
            freeze_backbone: Never train the backbones, nor their batch statistics.
            is_shared: One encoder for all planes.
            width: D, the states of the LSTM.
            num_heads: Of the attention.
            drop_rate: Dropout before the head.
            backbone_options: Further arguments of `timm.create_model`.
        """
        super().__init__()
        self.encoder = ChannelEncoder(
            backbone,
            planes,
            width=width,
            is_shared=is_shared,
            pretrained=pretrained,
            freeze=freeze_backbone,
            options=backbone_options,
        )
        # A single plane has nothing to be aligned with, and no parameter may stay untrained.
        self.align = (
            nn.MultiheadAttention(width, num_heads, batch_first=True) if len(planes) > 1 else None
        )
        self.num_features = width
        self.head = classifier(width, num_outputs, drop_rate=drop_rate)

    def embed(self, clip_BCTHW: Tensor, num_valid_frames_B: Tensor | None = None) -> Tensor:
        """The mean over the aligned planes at the last frame that counts, float [B, D]."""
        mask_BT = frames_mask(clip_BCTHW, num_valid_frames_B)
        states_BCTD = self.encoder(clip_BCTHW, num_valid_frames_B)
        first_BTD, others = states_BCTD[:, 0], states_BCTD[:, 1:]
        if self.align is None:
            return last_valid(first_BTD, mask_BT)
        num_others = others.shape[1]
        keys = others.flatten(0, 1)
        aligned, _ = self.align(
            first_BTD.repeat_interleave(num_others, dim=0),
            keys,
            keys,
            key_padding_mask=~mask_BT.repeat_interleave(num_others, dim=0),
            need_weights=False,
        )
        planes = torch.cat([first_BTD[:, None], aligned.unflatten(0, (-1, num_others))], dim=1)
        return last_valid(planes.mean(1), mask_BT)
