"""This package's models by timm names: `timm.create_model("fmrgb_frame_pool_resnet18", ...)`.

timm finds them once `fmrgb_stream.models` is imported.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Final

import timm
from torch import nn

from fmrgb_stream.channels import CHANNELS
from fmrgb_stream.models.registry import FAMILIES, TIMM_PREFIX, create_model

BACKBONES: Final = (
    "convnext_tiny",
    "efficientnet_b0",
    "lcnet_050",
    "mobilenetv3_small_100",
    "resnet10t",
    "resnet18",
    "resnet34",
    "resnet50",
)
"""Each family is registered with these; `create_model` takes every timm backbone."""


def _timm_entrypoint(
    family: str,
    backbone: str,
    *,
    pretrained: bool = False,
    num_classes: int = 1000,
    in_chans: int = len(CHANNELS),
    drop_rate: float = 0.0,
    pretrained_cfg: object = None,
    pretrained_cfg_overlay: object = None,
    cache_dir: object = None,
    **options: Any,
) -> nn.Module:
    """What `timm.create_model` calls; the weights' place is the backbone's, so it is not used."""
    del pretrained_cfg, pretrained_cfg_overlay, cache_dir
    return create_model(
        f"{family}/{backbone}",
        num_classes=num_classes,
        in_chans=None if "channels" in options else in_chans,
        pretrained=pretrained,
        drop_rate=drop_rate,
        **options,
    )


def register_with_timm() -> None:
    """Add every family and backbone to timm's registry."""
    for family in FAMILIES:
        for backbone in BACKBONES:
            entrypoint: Any = partial(_timm_entrypoint, family, backbone)
            entrypoint.__name__ = f"{TIMM_PREFIX}{family}_{backbone}"
            entrypoint.__module__ = __name__
            globals()[entrypoint.__name__] = (
                entrypoint  # timm adds the name to this module's __all__
            )
            timm.models.register_model(entrypoint)
