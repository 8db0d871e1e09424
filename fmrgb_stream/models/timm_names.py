"""This package's models by timm names: `timm.create_model("fmrgb_crnn_resnet18", ...)`.

timm finds them once `fmrgb_stream.models` is imported.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Final

import timm
from torch import nn

from fmrgb_stream.channels import CHANNELS
from fmrgb_stream.models.families import FAMILIES, MIXTURE, NETWORKS
from fmrgb_stream.models.registry import TIMM_PREFIX, create_model

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
MIXTURES: Final = (f"{MIXTURE}/conv3d", f"{MIXTURE}/seq2seq", f"{MIXTURE}/slowfast_r18")
"""S0's three."""
NAMES: Final = (
    *(f"{family}/{backbone}" for family in FAMILIES for backbone in BACKBONES),
    *NETWORKS,
    *MIXTURES,
)
"""Our names of all that is registered."""


def timm_name(name: str) -> str:
    """`crnn/resnet18` -> `fmrgb_crnn_resnet18`."""
    return TIMM_PREFIX + name.replace("/", "_")


def _timm_entrypoint(
    name: str,
    *,
    pretrained: bool = False,
    num_classes: int = 1000,
    in_chans: int = len(CHANNELS),
    pretrained_cfg: object = None,
    pretrained_cfg_overlay: object = None,
    cache_dir: object = None,
    **options: Any,
) -> nn.Module:
    """What `timm.create_model` calls; the weights' place is the backbone's, so it is not used."""
    del pretrained_cfg, pretrained_cfg_overlay, cache_dir
    return create_model(
        name,
        num_classes=num_classes,
        in_chans=None if "channels" in options else in_chans,
        pretrained=pretrained,
        **options,
    )


def register_with_timm() -> None:
    """Add every name to timm's registry."""
    for name in NAMES:
        entrypoint: Any = partial(_timm_entrypoint, name)
        entrypoint.__name__ = timm_name(name)
        entrypoint.__module__ = __name__
        # timm adds the name to this module's __all__
        globals()[entrypoint.__name__] = entrypoint
        timm.models.register_model(entrypoint)
