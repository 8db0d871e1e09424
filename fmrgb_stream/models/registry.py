"""Model name -> model: `family/backbone`, in timm's words."""

from __future__ import annotations

import difflib
import fnmatch
import inspect
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final, Protocol

import timm
from torch import Tensor, nn

from fmrgb_stream.channels import CHANNELS, resolve_channels
from fmrgb_stream.config import check_positive
from fmrgb_stream.errors import ConfigError
from fmrgb_stream.models.frame_pool import FramePool
from fmrgb_stream.models.stem import HasMeanAndStd, NeutralStats

TIMM_PREFIX: Final = "fmrgb_"
FAMILIES: Final[Mapping[str, Callable[..., nn.Module]]] = MappingProxyType(
    {"frame_pool": FramePool}
)
_SET_BY_CREATE_MODEL: Final = ("self", "backbone", "num_outputs", "channel_stats", "pretrained")


class ClipModel(Protocol):
    """What every model of this package is: an `nn.Module` called like this."""

    def __call__(self, clip_BCTHW: Tensor, num_valid_frames_B: Tensor | None = None, /) -> Tensor:
        """uint8 [B, C, T, H, W] (and int64 [B]) -> float [B, K]."""
        ...


def create_model(
    name: str,
    *,
    num_classes: int,
    in_chans: int | None = None,
    channels: str | tuple[str, ...] | None = None,
    channel_stats: Mapping[str, HasMeanAndStd] | None = None,
    pretrained: bool = False,
    **options: Any,
) -> nn.Module:
    """Build a model that takes `ClipBatch.clip` as it comes.

    Args:
        name: `family/backbone`, e.g. `frame_pool/resnet10t`; the backbone is any of timm's.
        num_classes: Outputs: classes, or regression targets.
        in_chans: Planes of a clip, when their names do not matter.
        channels: Planes by preset or name, as in `ClipConfig`; the default is `fmrgb`.
        channel_stats: `manifest.channel_stats`: the stem normalises each named plane by them.
        pretrained: Load timm's weights into the backbone (this downloads them).
        **options: The family's own: see its class, e.g. `FramePool`.

    Raises:
        ConfigError: the name or an option is not known (the nearest known ones are named), or
            `in_chans` and `channels` do not fit each other.
    """
    family, backbone = _split_name(name)
    check_positive("num_classes", num_classes)
    _check_options(family, options)
    return FAMILIES[family](
        backbone,
        num_outputs=num_classes,
        channel_stats=_channel_stats(in_chans, channels, channel_stats),
        pretrained=pretrained,
        **options,
    )


def list_models(pattern: str = "*") -> list[str]:
    """Names that `create_model` takes and that match a shell pattern, sorted."""
    backbones = timm.list_models(exclude_filters=f"{TIMM_PREFIX}*")
    names = [f"{family}/{backbone}" for family in FAMILIES for backbone in backbones]
    return sorted(fnmatch.filter(names, pattern))


def _split_name(name: str) -> tuple[str, str]:
    family, _, backbone = name.partition("/")
    is_backbone = timm.is_model(backbone) and not backbone.startswith(TIMM_PREFIX)
    if family in FAMILIES and is_backbone:
        return family, backbone
    nearest = difflib.get_close_matches(name, list_models(), n=5, cutoff=0.5)
    raise ConfigError(
        f"no model {name!r}; names are family/backbone with a family of {sorted(FAMILIES)} and a "
        f"timm backbone; the nearest are {nearest or 'none'} (see list_models('*resnet*'))"
    )


def _check_options(family: str, options: Mapping[str, Any]) -> None:
    parameters = inspect.signature(FAMILIES[family].__init__).parameters
    allowed = sorted(set(parameters) - set(_SET_BY_CREATE_MODEL))
    unknown = sorted(set(options) - set(allowed))
    if unknown:
        raise ConfigError(f"{family} has no options {unknown}; it has {allowed}")


def _channel_stats(
    in_chans: int | None,
    channels: str | tuple[str, ...] | None,
    stats: Mapping[str, HasMeanAndStd] | None,
) -> tuple[HasMeanAndStd, ...]:
    if channels is None and in_chans not in (None, len(CHANNELS)):
        if stats is not None:
            raise ConfigError(f"channel_stats go by name: give channels=, not in_chans={in_chans}")
        check_positive("in_chans", in_chans)
        return (NeutralStats(),) * in_chans
    planes = resolve_channels(CHANNELS if channels is None else channels)
    if in_chans not in (None, len(planes)):
        raise ConfigError(f"in_chans={in_chans} but channels={channels!r} are {len(planes)} planes")
    return tuple((stats or {}).get(plane, NeutralStats()) for plane in planes)
