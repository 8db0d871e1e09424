"""Clip -> logits: one image backbone looks at every frame, the frames' features are pooled.

Shape legend: B batch, C channels, T frames, H height, W width, D features, K outputs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from fmrgb_stream.models.backbone import FrameEncoder
from fmrgb_stream.models.frames import frames_mask
from fmrgb_stream.models.interface import ClipModel
from fmrgb_stream.models.layers import classifier
from fmrgb_stream.models.pooling import Pooling, make_pooling
from fmrgb_stream.models.stem import Plane


class FramePool(ClipModel):
    """Any timm image backbone over frames, pooled over time. No layer depends on T, H or W."""

    def __init__(
        self,
        backbone: str,
        *,
        num_outputs: int,
        planes: Sequence[Plane],
        pretrained: bool = False,
        pooling: Pooling = "mean",
        drop_rate: float = 0.0,
        freeze_backbone: bool = False,
        backbone_options: Mapping[str, Any] | None = None,
    ) -> None:
        """Build backbone, pooling and head.

        Args:
            backbone: A timm model name, or `smallcnn`.
            num_outputs: K, classes or regression targets.
            planes: Name, mean and deviation of each of the C planes.
            pretrained: Load timm's weights; the first layer is adapted to the planes.
            pooling: `mean`, or `attention` with one learned score a frame.
            drop_rate: Dropout before the head.
            freeze_backbone: Never train the backbone, nor its batch statistics.
            backbone_options: Further arguments of `timm.create_model`.

        Raises:
            ConfigError: `pooling` is not known.
        """
        super().__init__()
        self.encoder = FrameEncoder(
            backbone,
            planes,
            pretrained=pretrained,
            freeze=freeze_backbone,
            options=backbone_options,
        )
        self.num_features = self.encoder.num_features
        self.pool = make_pooling(pooling, self.num_features)
        self.head = classifier(self.num_features, num_outputs, drop_rate=drop_rate)

    def embed(self, clip_BCTHW: Tensor, num_valid_frames_B: Tensor | None = None) -> Tensor:
        """The pooled features of the frames, float [B, D]."""
        features_BTD = self.encoder(clip_BCTHW, num_valid_frames_B)
        return self.pool(features_BTD, frames_mask(clip_BCTHW, num_valid_frames_B))
