"""Clip -> features of every frame, by any timm image backbone.

Shape legend: B batch, C channels, T frames, H height, W width, N pictures, D features.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Self, cast

import timm
import torch
from timm.models import is_model_pretrained
from torch import Tensor, nn

from fmrgb_stream.errors import ConfigError
from fmrgb_stream.models.frames import repeat_valid_frames, resize_pictures
from fmrgb_stream.models.rgb_weights import load_rgb_weights
from fmrgb_stream.models.small_cnn import SmallCNN
from fmrgb_stream.models.stem import ClipStem, Plane

SMALL_CNN: Final = "smallcnn"
"""The one backbone that is not timm's."""
_ANY_SIZE: Final[dict[str, Any]] = {"dynamic_img_size": True, "dynamic_img_pad": True}


class ImageBackbone(nn.Module):
    """An image network without its classifier, for C planes and pictures of any size."""

    def __init__(
        self,
        name: str,
        planes: Sequence[Plane],
        *,
        pretrained: bool = False,
        freeze: bool = False,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        """Build it.

        Args:
            name: A timm model name, or `smallcnn`.
            planes: The planes that it reads.
            pretrained: Load timm's weights; the first layer is adapted to the planes.
            freeze: Never train it, nor its batch statistics.
            options: Further arguments of `timm.create_model`; with
                `pretrained_cfg_overlay={"file": path}` the pretrained weights are a local file.

        Raises:
            ConfigError: pretrained weights are asked for, and there are none or they do not fit.
        """
        super().__init__()
        self.freeze = freeze
        self.resize_to: tuple[int, int] | None = None
        if name == SMALL_CNN:
            if pretrained:
                raise ConfigError(f"backbone {SMALL_CNN!r} has no pretrained weights")
            self.net: nn.Module = SmallCNN(len(planes), **(options or {}))
        else:
            arguments = dict(options or {}) | _size_options(name)
            self.net = _timm_net(name, planes, pretrained=pretrained, options=arguments)
            if _is_fixed_size(name) and not _takes_any_size(name):
                self.resize_to = _input_size(self.net)
        self.num_features = _num_features(self.net)
        if freeze:
            self.net.requires_grad_(requires_grad=False)

    def train(self, mode: bool = True) -> Self:
        """Switch dropout and batch statistics; a frozen network stays in evaluation mode."""
        super().train(mode)
        if self.freeze:
            self.net.eval()
        return self

    def forward(self, images_NCHW: Tensor) -> Tensor:
        """Normalised pictures [N, C, H, W] -> pooled features [N, D].

        A network that knows one size only gets the pictures resized to it.
        """
        if self.resize_to is not None:
            images_NCHW = resize_pictures(images_NCHW, self.resize_to)
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.freeze):
            return self.net(images_NCHW)


class FrameEncoder(nn.Module):
    """Stem and image backbone over the frames of a clip."""

    def __init__(
        self,
        backbone: str,
        planes: Sequence[Plane],
        *,
        pretrained: bool = False,
        freeze: bool = False,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        """Build both; the arguments are those of `ImageBackbone`."""
        super().__init__()
        self.stem = ClipStem(planes)
        self.backbone = ImageBackbone(
            backbone, planes, pretrained=pretrained, freeze=freeze, options=options
        )
        self.num_features = self.backbone.num_features

    def forward(self, clip_BCTHW: Tensor, num_valid_frames_B: Tensor | None) -> Tensor:
        """Float [B, T, D]; those of padding frames say nothing new and must not count."""
        planes = self.stem(repeat_valid_frames(clip_BCTHW, num_valid_frames_B))
        images = planes.transpose(1, 2).flatten(0, 1)
        return self.backbone(images).unflatten(0, (clip_BCTHW.shape[0], -1))


def _timm_net(
    name: str, planes: Sequence[Plane], *, pretrained: bool, options: Mapping[str, Any]
) -> nn.Module:
    net = timm.create_model(name, in_chans=len(planes), num_classes=0, **options)
    if pretrained:
        if not (is_model_pretrained(name) or "pretrained_cfg_overlay" in options):
            raise ConfigError(f"backbone {name!r} has no pretrained weights")
        try:
            twin = timm.create_model(name, pretrained=True, num_classes=0, **options)
        except RuntimeError as error:
            raise ConfigError(f"pretrained weights of backbone {name!r}: {error}") from error
        load_rgb_weights(net, twin.state_dict(), planes)
    return net


def _size_options(name: str) -> dict[str, Any]:
    return dict(_ANY_SIZE) if _is_fixed_size(name) and _takes_any_size(name) else {}


def _is_fixed_size(name: str) -> bool:
    config = timm.get_pretrained_cfg(name)
    return config is not None and bool(config.fixed_input_size)


def _takes_any_size(name: str) -> bool:
    """Whether the network can interpolate its positions. On the meta device nothing is allocated."""
    try:
        with torch.device("meta"):
            timm.create_model(name, **_ANY_SIZE)
    except TypeError:
        return False
    return True


def _input_size(net: nn.Module) -> tuple[int, int]:
    config = cast("dict[str, Any]", net.pretrained_cfg)
    height, width = config["input_size"][1:]
    return int(height), int(width)


def _num_features(net: nn.Module) -> int:
    """What comes out after pooling; some networks have one more layer there."""
    hidden = cast("int | None", getattr(net, "head_hidden_size", None))
    return hidden or cast("int", net.num_features)
