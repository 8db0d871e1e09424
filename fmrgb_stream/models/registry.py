"""Model name -> model: `family/backbone` or the name of a whole network, in timm's words."""

from __future__ import annotations

import difflib
import fnmatch
import os
from collections.abc import Mapping
from functools import cache, partial
from typing import Any, Final

import timm

from fmrgb_stream.channels import CHANNELS, MEL, resolve_channels
from fmrgb_stream.config import check_count
from fmrgb_stream.errors import ConfigError
from fmrgb_stream.models.backbone import SMALL_CNN
from fmrgb_stream.models.checkpoints import load_checkpoint
from fmrgb_stream.models.families import (
    FAMILIES,
    MIXTURE,
    NETWORKS,
    SET_BY_CREATE_MODEL,
    Builder,
    accepts,
)
from fmrgb_stream.models.frame_pool import FramePool
from fmrgb_stream.models.interface import ClipModel
from fmrgb_stream.models.mixture import Mixture
from fmrgb_stream.models.stem import HasMeanAndStd, Plane

TIMM_PREFIX: Final = "fmrgb_"
_MIXTURE_OPTIONS: Final = ("num_experts", "gate_backbone")


def create_model(
    name: str,
    *,
    num_classes: int,
    in_chans: int | None = None,
    channels: str | tuple[str, ...] | None = None,
    channel_stats: Mapping[str, HasMeanAndStd] | None = None,
    pretrained: bool = False,
    checkpoint: str | os.PathLike[str] | None = None,
    new_head: bool = False,
    **options: Any,
) -> ClipModel:
    """Build a model that takes `ClipBatch.clip` as it comes.

    Args:
        name: `family/backbone` with any backbone of timm's (`crnn/resnet34`), a whole network
            (`slowfast_r50`), or `moe/` before either.
        num_classes: Outputs: classes, or regression targets.
        in_chans: Planes of a clip, when their names do not matter.
        channels: Planes by preset or name, as in `ClipConfig`; the default is `fmrgb`.
        channel_stats: `manifest.channel_stats`: the stem normalises each named plane by them.
        pretrained: Load timm's (or torchvision's) weights, adapted to the planes; downloads them.
        checkpoint: A local file with the weights of this very model.
        new_head: With `checkpoint`: leave its head out, because the classes differ.
        **options: The family's own: see its class, e.g. `FramePool`. A mixture has `num_experts` and
            `gate_backbone` too, and hands the rest to its experts.

    Raises:
        ConfigError: the name or an option is not known (the nearest known ones are named),
            `in_chans` and `channels` do not fit each other, or weights do not fit the model.
    """
    check_count("num_classes", num_classes)
    if new_head and checkpoint is None:
        raise ConfigError("new_head=True goes with checkpoint=")
    common: dict[str, Any] = {
        "planes": _planes(in_chans, channels, channel_stats),
        "sound_plane": _plane(MEL, channel_stats),
        "pretrained": pretrained,
    }
    model = _build(name, common, options, num_outputs=num_classes)
    if checkpoint is not None:
        load_checkpoint(model, checkpoint, new_head=new_head)
    return model


def list_models(pattern: str = "*") -> list[str]:
    """Names that match a shell pattern, sorted.

    `create_model` takes them all. A mixture (`moe/...`) goes with every other name; only those of
    whole networks are listed.
    """
    return fnmatch.filter(_all_names(), pattern)


@cache
def _all_names() -> tuple[str, ...]:
    names = [f"{family}/{backbone}" for family in FAMILIES for backbone in _backbones()]
    names += [*NETWORKS, *(f"{MIXTURE}/{network}" for network in NETWORKS)]
    return tuple(sorted(names))


@cache
def _backbones() -> tuple[str, ...]:
    return (*timm.list_models(exclude_filters=f"{TIMM_PREFIX}*"), SMALL_CNN)


def _build(
    name: str, common: Mapping[str, Any], options: Mapping[str, Any], *, num_outputs: int
) -> ClipModel:
    if name.startswith(f"{MIXTURE}/"):
        return _build_mixture(name, common, options, num_outputs=num_outputs)
    build = _builder(name)
    allowed = accepts(build)
    _check_options(name, options, allowed - SET_BY_CREATE_MODEL)
    if common["pretrained"] and "pretrained" not in allowed:
        raise ConfigError(f"{name} has no pretrained weights; load your own with checkpoint=")
    return build(
        num_outputs=num_outputs,
        **{key: value for key, value in common.items() if key in allowed},
        **options,
    )


def _build_mixture(
    name: str, common: Mapping[str, Any], options: Mapping[str, Any], *, num_outputs: int
) -> ClipModel:
    """S0's moe models: the gate is as wide as there are experts."""
    expert = name.removeprefix(f"{MIXTURE}/")
    if expert.startswith(f"{MIXTURE}/"):
        raise ConfigError(f"no model {name!r}: a mixture is no expert")
    num_experts = options.get("num_experts", 4)
    check_count("num_experts", num_experts)
    of_expert = {key: value for key, value in options.items() if key not in _MIXTURE_OPTIONS}
    gate = FramePool(
        options.get("gate_backbone", SMALL_CNN), num_outputs=num_experts, planes=common["planes"]
    )
    experts = [
        _build(expert, common, of_expert, num_outputs=num_outputs) for _ in range(num_experts)
    ]
    return Mixture(experts, gate=gate)


def _builder(name: str) -> Builder:
    if name in NETWORKS:
        return NETWORKS[name]
    family, _, backbone = name.rpartition("/")
    if family in FAMILIES and backbone in _backbones():
        return partial(FAMILIES[family], backbone)
    # Pretrained tags, as in timm: crnn/resnet18.a1_in1k
    if family in FAMILIES and not backbone.startswith(TIMM_PREFIX) and timm.is_model(backbone):
        return partial(FAMILIES[family], backbone)
    candidates = (
        [f"{family}/{known}" for known in _backbones()] if family in FAMILIES else _all_names()
    )
    nearest = difflib.get_close_matches(name, candidates, n=5, cutoff=0.5)
    raise ConfigError(
        f"no model {name!r}; names are family/backbone with a family of {sorted(FAMILIES)} and a "
        f"timm backbone, or one of {sorted(NETWORKS)}, or '{MIXTURE}/' and one of these; the "
        f"nearest are {nearest or 'none'} (see list_models('*resnet*'))"
    )


def _check_options(name: str, options: Mapping[str, Any], allowed: frozenset[str]) -> None:
    unknown = sorted(options.keys() - allowed)
    if unknown:
        raise ConfigError(f"{name} has no options {unknown}; it has {sorted(allowed)}")


def _planes(
    in_chans: int | None,
    channels: str | tuple[str, ...] | None,
    stats: Mapping[str, HasMeanAndStd] | None,
) -> tuple[Plane, ...]:
    check_count("in_chans", in_chans)
    if channels is None and in_chans not in (None, len(CHANNELS)):
        if stats is not None:
            raise ConfigError(f"channel_stats go by name: give channels=, not in_chans={in_chans}")
        return (Plane(),) * in_chans
    names = resolve_channels(CHANNELS if channels is None else channels)
    if in_chans not in (None, len(names)):
        raise ConfigError(f"in_chans={in_chans} but channels={channels!r} are {len(names)} planes")
    return tuple(_plane(name, stats) for name in names)


def _plane(name: str, stats: Mapping[str, HasMeanAndStd] | None) -> Plane:
    if stats is None or name not in stats:
        return Plane(name=name)
    return Plane(name=name, mean=stats[name].mean, std=stats[name].std)
