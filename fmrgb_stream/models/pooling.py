"""Features of frames -> features of the clip. Shape legend: B batch, T frames, D features."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from fmrgb_stream.config import check_choice

Pooling = Literal["mean", "attention"]


def make_pooling(pooling: Pooling, num_features: int) -> nn.Module:
    """[B, T, D] and mask [B, T] -> [B, D].

    Raises:
        ConfigError: `pooling` is not known.
    """
    check_choice("pooling", pooling, Pooling)
    return AttentionPool(num_features) if pooling == "attention" else MeanPool()


class MeanPool(nn.Module):
    """Mean over the valid frames."""

    def forward(self, features_BTD: Tensor, mask_BT: Tensor) -> Tensor:
        """[B, T, D] -> [B, D]."""
        weights_BT1 = mask_BT[..., None].to(features_BTD.dtype)
        return (features_BTD * weights_BT1).sum(1) / weights_BT1.sum(1)


class AttentionPool(nn.Module):
    """Mean over the valid frames, weighted by a learned score of each frame."""

    def __init__(self, num_features: int) -> None:
        """Scores start at zero: the plain mean."""
        super().__init__()
        self.norm = nn.LayerNorm(num_features)
        self.score = nn.Linear(num_features, 1)
        nn.init.zeros_(self.score.weight)
        nn.init.zeros_(self.score.bias)

    def forward(self, features_BTD: Tensor, mask_BT: Tensor) -> Tensor:
        """[B, T, D] -> [B, D]."""
        scores_BT = self.score(self.norm(features_BTD))[..., 0].float()
        weights_BT = scores_BT.masked_fill(~mask_BT, -torch.inf).softmax(dim=1)
        return (features_BTD * weights_BT[..., None].to(features_BTD.dtype)).sum(1)
