"""Clip -> logits: a transformer over the patches of each frame, then one over the frames.

The factorised encoder of ViViT (Arnab et al. 2021, section 3.3, model 2), as S0 uses it; the first
transformer is any timm image backbone. Shape legend: B batch, T frames, D features, K outputs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import torch
from torch import Tensor, nn

from fmrgb_stream.models.backbone import FrameEncoder
from fmrgb_stream.models.frames import frames_mask, time_positions
from fmrgb_stream.models.interface import ClipModel
from fmrgb_stream.models.layers import classifier
from fmrgb_stream.models.stem import Plane

MLP_RATIO: Final = 4
HEAD_FEATURES: Final = 64


class ViViT(ClipModel):
    """Space encoder on each frame, time transformer with a class token over the frames."""

    def __init__(
        self,
        backbone: str,
        *,
        num_outputs: int,
        planes: Sequence[Plane],
        pretrained: bool = False,
        freeze_backbone: bool = False,
        time_depth: int = 4,
        drop_rate: float = 0.0,
        backbone_options: Mapping[str, Any] | None = None,
    ) -> None:
        """Build both transformers.

        Args:
            backbone: The space encoder: a timm model name, or `smallcnn`.
            num_outputs: K, classes or regression targets.
            planes: Name, mean and deviation of each of the C planes.
            pretrained: Load timm's weights; the first layer is adapted to the planes.
            freeze_backbone: Never train the space encoder.
            time_depth: Layers of the time transformer.
            drop_rate: Dropout in the time transformer and before the head.
            backbone_options: Further arguments of `timm.create_model`.
        """
        super().__init__()
        self.encoder = FrameEncoder(
            backbone,
            planes,
            pretrained=pretrained,
            freeze=freeze_backbone,
            options=backbone_options,
        )
        self.num_features = width = self.encoder.num_features
        self.class_token = nn.Parameter(torch.empty(1, 1, width).normal_(std=0.02))
        layer = nn.TransformerEncoderLayer(
            width,
            _num_heads(width),
            MLP_RATIO * width,
            drop_rate,
            activation="gelu",
            batch_first=True,
            norm_first=True,
        )
        self.time = nn.TransformerEncoder(
            layer, time_depth, norm=nn.LayerNorm(width), enable_nested_tensor=False
        )
        self.head = classifier(width, num_outputs, drop_rate=drop_rate)

    def embed(self, clip_BCTHW: Tensor, num_valid_frames_B: Tensor | None = None) -> Tensor:
        """The class token after the time transformer, float [B, D]."""
        tokens_BTD = self.encoder(clip_BCTHW, num_valid_frames_B)
        tokens_BTD = tokens_BTD + time_positions(*tokens_BTD.shape[1:], like=tokens_BTD)
        class_B1D = self.class_token.to(tokens_BTD.dtype).expand(len(tokens_BTD), -1, -1)
        mask_BT = frames_mask(clip_BCTHW, num_valid_frames_B)
        ignored = torch.cat([torch.zeros_like(mask_BT[:, :1]), ~mask_BT], dim=1)
        tokens = torch.cat([class_B1D, tokens_BTD], dim=1)
        return self.time(tokens, src_key_padding_mask=ignored)[:, 0]


def _num_heads(width: int) -> int:
    """Heads of 64 features, or of the nearest number that divides the width."""
    wanted = max(1, width // HEAD_FEATURES)
    return next(heads for heads in range(wanted, 0, -1) if width % heads == 0)
