"""Sound image and sound features -> logits: two branches, joined late (S4's multimodal network).

Shape legend: B batch, M bands, W image columns, F features, D embedding, K outputs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import torch
from torch import Tensor, nn

from fmrgb_stream.errors import ConfigError
from fmrgb_stream.models.backbone import ImageBackbone
from fmrgb_stream.models.interface import CLIP_FIELDS, ClipModel
from fmrgb_stream.models.layers import hidden_layers
from fmrgb_stream.models.sound_features import NUM_AUDIO_FEATURES, feature_layers
from fmrgb_stream.models.stem import ClipStem, Plane

BRANCH_WIDTH: Final = 128
FEATURE_WIDTHS: Final = (256, BRANCH_WIDTH)
JOINT_WIDTHS: Final = (128, 64)


class LateFusion(ClipModel):
    """An image backbone on the clip's sound image, an MLP on its features; the picture is not read."""

    batch_fields = (*CLIP_FIELDS, "mel_image", "audio_features")

    def __init__(
        self,
        backbone: str,
        *,
        num_outputs: int,
        planes: Sequence[Plane],
        sound_plane: Plane,
        pretrained: bool = False,
        num_audio_features: int = NUM_AUDIO_FEATURES,
        drop_rate: float = 0.2,
        freeze_backbone: bool = False,
        backbone_options: Mapping[str, Any] | None = None,
    ) -> None:
        """Build both branches and the joint layers, of the source's widths.

        Args:
            backbone: A timm model name (the source's is an EfficientNet-B0), or `smallcnn`.
            num_outputs: K, classes or regression targets.
            planes: Not used: the clip is not read.
            sound_plane: Mean and deviation of the sound image.
            pretrained: Load timm's weights; the first layer is adapted to one plane.
            num_audio_features: F.
            drop_rate: After the backbone.
            freeze_backbone: Never train the backbone, nor its batch statistics.
            backbone_options: Further arguments of `timm.create_model`.
        """
        super().__init__()
        del planes
        self.stem = ClipStem([sound_plane])
        self.backbone = ImageBackbone(
            backbone,
            [sound_plane],
            pretrained=pretrained,
            freeze=freeze_backbone,
            options=backbone_options,
        )
        self.image_branch = nn.Sequential(
            nn.Dropout(drop_rate), nn.Linear(self.backbone.num_features, BRANCH_WIDTH)
        )
        self.feature_branch = feature_layers(num_audio_features, FEATURE_WIDTHS)
        ends = (2 * BRANCH_WIDTH, *JOINT_WIDTHS)
        self.joint = hidden_layers(ends, drop_rate=0.0)
        self.num_features = ends[-1]
        self.head = nn.Linear(self.num_features, num_outputs)

    def embed(
        self,
        clip_BCTHW: Tensor,
        num_valid_frames_B: Tensor | None = None,
        mel_image_B1MW: Tensor | None = None,
        audio_features_BF: Tensor | None = None,
    ) -> Tensor:
        """The joint layers' output, float [B, D]; the arguments are those of `forward`."""
        del clip_BCTHW, num_valid_frames_B
        if mel_image_B1MW is None or audio_features_BF is None:
            raise ConfigError(
                "fusion/late needs mel_image and audio_features; use "
                "ClipConfig(extras=('mel_image', 'audio_features'))"
            )
        image = self.image_branch(self.backbone(self.stem(mel_image_B1MW)))
        return self.joint(torch.cat([image, self.feature_branch(audio_features_BF)], dim=1))

    def forward(
        self,
        clip_BCTHW: Tensor,
        num_valid_frames_B: Tensor | None = None,
        mel_image_B1MW: Tensor | None = None,
        audio_features_BF: Tensor | None = None,
    ) -> Tensor:
        """Logits, or regression outputs, float [B, K].

        Args:
            clip_BCTHW: Not read; it stands first in every model's arguments.
            num_valid_frames_B: Not read.
            mel_image_B1MW: uint8, the sound of the whole clip; of any size.
            audio_features_BF: float32.

        Raises:
            ConfigError: one of the last two is missing.
        """
        return self.head(
            self.embed(clip_BCTHW, num_valid_frames_B, mel_image_B1MW, audio_features_BF)
        )
