"""Clip -> logits: one image backbone looks at every frame, the frames' features are pooled.

Shape legend: B batch, C channels, T frames, H height, W width, D features, K outputs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, cast

import timm
import torch
from torch import Tensor, nn

from fmrgb_stream.config import check_choice
from fmrgb_stream.models.stem import ClipStem, HasMeanAndStd

Pooling = Literal["mean", "attention"]


def valid_frames_mask(num_valid_frames_B: Tensor, num_frames: int) -> Tensor:
    """Mask [B, T] of bool: the frames that count; a clip that says it has none counts its first one."""
    frames_T = torch.arange(num_frames, device=num_valid_frames_B.device)
    return frames_T < num_valid_frames_B.clamp(min=1)[:, None]


def repeat_valid_frames(clip_BCTHW: Tensor, num_valid_frames_B: Tensor) -> Tensor:
    """The clip with its padding replaced by its own frames from the start, over and over.

    Batch statistics then see pictures only, and shapes stay fixed. Copies the clip.
    """
    num_frames = clip_BCTHW.shape[2]
    frames_T = torch.arange(num_frames, device=clip_BCTHW.device)
    source_BT = frames_T % num_valid_frames_B.clamp(min=1)[:, None]
    index = source_BT[:, None, :, None, None].expand_as(clip_BCTHW)
    return clip_BCTHW.gather(2, index)


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


class FramePool(nn.Module):
    """Any timm image backbone over frames, pooled over time. No layer depends on T, H or W."""

    def __init__(
        self,
        backbone: str,
        *,
        num_outputs: int,
        channel_stats: Sequence[HasMeanAndStd],
        pretrained: bool = False,
        pooling: Pooling = "mean",
        drop_rate: float = 0.0,
        backbone_options: Mapping[str, Any] | None = None,
    ) -> None:
        """Build backbone, pooling and head.

        Args:
            backbone: A timm model name.
            num_outputs: K, classes or regression targets.
            channel_stats: Mean and deviation of each of the C planes, in 0..1.
            pretrained: Load timm's weights; its first layer is adapted to C planes. R, G, B stand
                first in a clip, so they keep their own weights.
            pooling: `mean`, or `attention` with one learned score a frame.
            drop_rate: Dropout before the head.
            backbone_options: Further arguments of `timm.create_model`.

        Raises:
            ConfigError: `pooling` is not known.
        """
        super().__init__()
        check_choice("pooling", pooling, Pooling)
        self.stem = ClipStem(channel_stats)
        self.backbone = timm.create_model(
            backbone,
            pretrained=pretrained,
            in_chans=len(channel_stats),
            num_classes=0,
            **(backbone_options or {}),
        )
        num_features = cast("int", getattr(self.backbone, "head_hidden_size", None))
        num_features = num_features or cast("int", self.backbone.num_features)
        self.pool = AttentionPool(num_features) if pooling == "attention" else MeanPool()
        self.head = nn.Sequential(nn.Dropout(drop_rate), nn.Linear(num_features, num_outputs))

    def forward(self, clip_BCTHW: Tensor, num_valid_frames_B: Tensor | None = None) -> Tensor:
        """Logits, or regression outputs, float [B, K].

        Args:
            clip_BCTHW: uint8 0..255, or float 0..1.
            num_valid_frames_B: int64; frames from there on are padding and never count.
                None counts all.
        """
        features_BTD = self.frame_features(clip_BCTHW, num_valid_frames_B)
        batch_size, num_frames = features_BTD.shape[:2]
        if num_valid_frames_B is None:
            mask_BT = features_BTD.new_ones((batch_size, num_frames), dtype=torch.bool)
        else:
            mask_BT = valid_frames_mask(num_valid_frames_B, num_frames)
        return self.head(self.pool(features_BTD, mask_BT))

    def frame_features(self, clip_BCTHW: Tensor, num_valid_frames_B: Tensor | None) -> Tensor:
        """The backbone's pooled features of every frame, float [B, T, D]."""
        if num_valid_frames_B is not None:
            clip_BCTHW = repeat_valid_frames(clip_BCTHW, num_valid_frames_B)
        planes = self.stem(clip_BCTHW)
        images = planes.transpose(1, 2).flatten(0, 1)
        return self.backbone(images).unflatten(0, (clip_BCTHW.shape[0], -1))
