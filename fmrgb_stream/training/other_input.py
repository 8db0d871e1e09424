"""The same model on something else than it was trained on: fewer planes, other planes, the other half.

- ablation: planes that are switched off hold nothing: black, silent, without motion (S1's ablation);
- cross: a model of one kind of plane reads another kind through the same encoder;
- modality: a shared encoder reads the picture, the sound, or both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final, cast

import torch
from torch import Tensor

from fmrgb_stream.channels import FLOW_U, FLOW_V, FLOW_ZERO_UV, MEL, resolve_channels
from fmrgb_stream.config import ClipConfig
from fmrgb_stream.errors import ConfigError
from fmrgb_stream.models.interface import ClipModel
from fmrgb_stream.models.stem import ClipStem, HasMeanAndStd, Plane
from fmrgb_stream.sample import ClipBatch

SOUND_FIELDS: Final = ("mel_image", "waveform", "audio_features")


def only_planes(clip: ClipConfig, kept: str | Sequence[str]) -> tuple[str, ...]:
    """The planes of a clip that `switch_off` takes, so that only `kept` hold something.

    Raises:
        ConfigError: the clip does not have a plane that is to be kept.
    """
    wanted = _planes_of(clip, kept)
    unknown = [plane for plane in wanted if plane not in clip.planes]
    if unknown:
        raise ConfigError(
            f"channels={kept!r}: the model was trained without {unknown}; it has "
            f"{list(clip.planes)}, choose some of them"
        )
    return tuple(plane for plane in clip.planes if plane not in wanted)


def switch_off(batch: ClipBatch, planes: Sequence[str]) -> ClipBatch:
    """A copy of a batch whose named planes hold nothing; with the mel plane all sound goes."""
    clip = batch.clip.clone()
    for place, name in enumerate(batch.channels):
        if name in planes:
            is_signed = name in (FLOW_U, FLOW_V) and clip.dtype == torch.uint8
            clip[:, place] = FLOW_ZERO_UV if is_signed else 0
    silent: dict[str, Tensor] = {}
    if MEL in planes:
        for field in SOUND_FIELDS:
            value = cast("Tensor | None", getattr(batch, field))
            if value is not None:
                silent[field] = torch.zeros_like(value)
    return replace(batch, clip=clip, **silent)


def cross_clip(
    model: ClipModel,
    clip: ClipConfig,
    channels: str | Sequence[str],
    *,
    stats: Mapping[str, HasMeanAndStd],
) -> ClipConfig:
    """The clip with other planes, and the model's stems told what is normal for those.

    Raises:
        ConfigError: there are more or fewer planes than the model has.
    """
    wanted = _planes_of(clip, channels)
    if len(wanted) != len(clip.planes):
        raise ConfigError(
            f"cross_channels={channels!r} are {len(wanted)} planes, the model reads "
            f"{len(clip.planes)}: {list(clip.planes)}; name as many"
        )
    measured = [stats.get(name, Plane(name=name)) for name in wanted]
    for stem in model.modules():
        if isinstance(stem, ClipStem) and len(stem.mean) == len(wanted):
            fresh = ClipStem(measured).to(stem.mean.device)
            stem.load_state_dict(fresh.state_dict())
    return replace(clip, channels=wanted)


def choose_modality(model: ClipModel, modality: str) -> None:
    """Let a shared encoder read `picture`, `sound` or `both`.

    Raises:
        ConfigError: the model has no shared encoder, or there is no such modality.
    """
    if not hasattr(model, "modality"):
        raise ConfigError(
            f"modality={modality!r} goes with fusion/shared/... models; this one reads planes: "
            "use channels= to switch some off, or cross_channels= to read others"
        )
    if modality not in ("picture", "sound", "both"):
        raise ConfigError(f"modality={modality!r}: choose picture, sound or both")
    model.modality = modality  # pyright: ignore[reportArgumentType] (asked for above)


def _planes_of(clip: ClipConfig, channels: str | Sequence[str]) -> tuple[str, ...]:
    """Plane names, `flow` standing for both of its halves where the clip has those."""
    return replace(clip, channels=resolve_channels(channels)).planes
