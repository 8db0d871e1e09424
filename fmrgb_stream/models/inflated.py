"""Clip -> logits: a timm image network whose convolutions look over time as well.

I3D (Carreira and Zisserman 2017) gives every spatial kernel a time axis; R(2+1)D (Tran et al. 2018)
puts a time kernel behind it. Both start as the image network: a still clip gives the picture's features.
Shape legend: B batch, C channels, T frames, H height, W width, D features, K outputs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from fmrgb_stream.config import check_choice
from fmrgb_stream.models.backbone import FrameEncoder
from fmrgb_stream.models.frames import frames_mask
from fmrgb_stream.models.inflation import Inflation, inflate
from fmrgb_stream.models.interface import ClipModel
from fmrgb_stream.models.layers import classifier
from fmrgb_stream.models.pooling import make_pooling
from fmrgb_stream.models.stem import Plane


class Inflated(ClipModel):
    """All frames go through the image network together, joined over time by its convolutions."""

    def __init__(
        self,
        backbone: str,
        *,
        num_outputs: int,
        planes: Sequence[Plane],
        pretrained: bool = False,
        kernels: Inflation = "3d",
        time_kernel: int = 3,
        drop_rate: float = 0.0,
        backbone_options: Mapping[str, Any] | None = None,
    ) -> None:
        """Build the image network and inflate it.

        Args:
            backbone: The name of a timm model with convolutions, or `smallcnn`.
            num_outputs: K, classes or regression targets.
            planes: Name, mean and deviation of each of the C planes.
            pretrained: Load timm's weights; the first layer is adapted to the planes.
            kernels: `3d`, or `2+1d`.
            time_kernel: Frames that a kernel sees; odd.
            drop_rate: Dropout before the head.
            backbone_options: Further arguments of `timm.create_model`.

        Raises:
            ConfigError: the network has no spatial convolution, or one that is of a special kind.
        """
        super().__init__()
        check_choice("kernels", kernels, Inflation)
        self.encoder = FrameEncoder(
            backbone, planes, pretrained=pretrained, options=backbone_options
        )
        self.time = inflate(self.encoder.backbone, kernels=kernels, time_kernel=time_kernel)
        self.num_features = self.encoder.num_features
        self.pool = make_pooling("mean", self.num_features)
        self.head = classifier(self.num_features, num_outputs, drop_rate=drop_rate)

    def embed(self, clip_BCTHW: Tensor, num_valid_frames_B: Tensor | None = None) -> Tensor:
        """Features, averaged over the frames that count, float [B, D]."""
        self.time.num_frames = clip_BCTHW.shape[2]
        features_BTD = self.encoder(clip_BCTHW, num_valid_frames_B)
        return self.pool(features_BTD, frames_mask(clip_BCTHW, num_valid_frames_B))
