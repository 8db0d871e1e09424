"""Picture and sound image -> logits: the same image backbone reads both (S1).

Trained on one of them and evaluated on the other it answers how much one encoder carries across.
Shape legend: B batch, C channels, T frames, H height, W width, M mel bands, D features, K outputs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

import torch
from torch import Tensor

from fmrgb_stream.config import check_choice
from fmrgb_stream.errors import ConfigError
from fmrgb_stream.models.backbone import ImageBackbone
from fmrgb_stream.models.frames import (
    frames_mask,
    middle_frame,
    repeat_valid_frames,
    resize_pictures,
)
from fmrgb_stream.models.interface import CLIP_FIELDS, ClipModel
from fmrgb_stream.models.layers import classifier
from fmrgb_stream.models.pooling import make_pooling
from fmrgb_stream.models.stem import ClipStem, Plane

Modality = Literal["picture", "sound", "both"]
Join = Literal["late", "height", "channel"]
Frames = Literal["middle", "all"]
MEL_FIELDS: Final = (*CLIP_FIELDS, "mel_image")


class SharedEncoder(ClipModel):
    """One backbone and one head for a clip's frame, its mel image, or both together.

    `modality` may be set at any time; weights do not depend on it.
    """

    batch_fields = MEL_FIELDS

    def __init__(
        self,
        backbone: str,
        *,
        num_outputs: int,
        planes: Sequence[Plane],
        sound_plane: Plane,
        pretrained: bool = False,
        modality: Modality = "both",
        join: Join = "late",
        frames: Frames = "middle",
        drop_rate: float = 0.0,
        freeze_backbone: bool = False,
        backbone_options: Mapping[str, Any] | None = None,
    ) -> None:
        """Build backbone and head.

        Args:
            backbone: A timm model name, or `smallcnn`.
            num_outputs: K, classes or regression targets.
            planes: Name, mean and deviation of each of the C planes of the picture.
            sound_plane: Mean and deviation of the mel image.
            pretrained: Load timm's weights; the first layer is adapted to the planes.
            modality: What is read: `picture`, `sound`, or `both`.
            join: How both come together: `late` is the mean of two embeddings, `height` puts the
                picture on top of the sound, `channel` one behind the other.
            frames: The `middle` frame, or the mean over `all` of them.
            drop_rate: Dropout before the head.
            freeze_backbone: Never train the backbone, nor its batch statistics.
            backbone_options: Further arguments of `timm.create_model`.

        Raises:
            ConfigError: a choice is not known.
        """
        super().__init__()
        check_choice("modality", modality, Modality)
        check_choice("join", join, Join)
        check_choice("frames", frames, Frames)
        self.modality: Modality = modality
        self.join, self.frames = join, frames
        self.stem, self.sound_stem = ClipStem(planes), ClipStem([sound_plane])
        read = [*planes, *[Plane(name="mel")] * len(planes)] if join == "channel" else planes
        self.backbone = ImageBackbone(
            backbone,
            read,
            pretrained=pretrained,
            freeze=freeze_backbone,
            options=backbone_options,
        )
        self.num_features = self.backbone.num_features
        self.pool = make_pooling("mean", self.num_features)
        self.head = classifier(self.num_features, num_outputs, drop_rate=drop_rate)

    def embed(
        self,
        clip_BCTHW: Tensor,
        num_valid_frames_B: Tensor | None = None,
        mel_image_B1MW: Tensor | None = None,
    ) -> Tensor:
        """The shared encoder's features, float [B, D]; the arguments are those of `forward`."""
        if self.join == "late":
            parts: list[Tensor] = []
            if self.modality != "sound":
                parts.append(self._encode(*self._pictures(clip_BCTHW, num_valid_frames_B)))
            if self.modality != "picture":
                parts.append(self.backbone(self._sound(clip_BCTHW, mel_image_B1MW)))
            return torch.stack(parts).mean(0)
        pictures_BCTHW, mask_BT = self._pictures(clip_BCTHW, num_valid_frames_B)
        sound_BCHW = self._sound(clip_BCTHW, mel_image_B1MW)[:, :, None]
        joined = [pictures_BCTHW, sound_BCHW.expand_as(pictures_BCTHW)]
        # The absent one becomes its mean, which is zero after the stem.
        if self.modality != "both":
            absent = 1 if self.modality == "picture" else 0
            joined[absent] = torch.zeros_like(pictures_BCTHW)
        return self._encode(torch.cat(joined, dim=3 if self.join == "height" else 1), mask_BT)

    def forward(
        self,
        clip_BCTHW: Tensor,
        num_valid_frames_B: Tensor | None = None,
        mel_image_B1MW: Tensor | None = None,
    ) -> Tensor:
        """Logits, or regression outputs, float [B, K].

        Args:
            clip_BCTHW: uint8 0..255, or float 0..1.
            num_valid_frames_B: int64; frames from there on are padding and never count.
            mel_image_B1MW: uint8, the sound of the whole clip; of any size.

        Raises:
            ConfigError: the sound is read and no mel image is given.
        """
        return self.head(self.embed(clip_BCTHW, num_valid_frames_B, mel_image_B1MW))

    def _pictures(
        self, clip_BCTHW: Tensor, num_valid_frames_B: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        if self.frames == "middle":
            frame = middle_frame(clip_BCTHW, num_valid_frames_B)
            return self.stem(frame), frames_mask(frame, None)
        repeated = repeat_valid_frames(clip_BCTHW, num_valid_frames_B)
        return self.stem(repeated), frames_mask(clip_BCTHW, num_valid_frames_B)

    def _sound(self, clip_BCTHW: Tensor, mel_image_B1MW: Tensor | None) -> Tensor:
        """The mel image as a picture of the clip's size with C equal planes, [B, C, H, W]."""
        if mel_image_B1MW is None:
            if self.modality != "picture":
                raise ConfigError(
                    f"modality={self.modality!r} needs mel_image; use "
                    "ClipConfig(extras=('mel_image',))"
                )
            return torch.zeros_like(self.stem(clip_BCTHW[:, :, 0]))
        size = (clip_BCTHW.shape[3], clip_BCTHW.shape[4])
        sound = resize_pictures(self.sound_stem(mel_image_B1MW), size)
        return sound.expand(-1, clip_BCTHW.shape[1], -1, -1)

    def _encode(self, pictures_BCTHW: Tensor, mask_BT: Tensor) -> Tensor:
        images = pictures_BCTHW.transpose(1, 2).flatten(0, 1)
        return self.pool(self.backbone(images).unflatten(0, mask_BT.shape), mask_BT)
