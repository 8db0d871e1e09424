"""Model names -> what they cost: parameters and multiply-adds, computed without allocating anything."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from fmrgb_stream.channels import resolve_channels
from fmrgb_stream.models.registry import create_model
from fmrgb_stream.models.sound_features import NUM_AUDIO_FEATURES

FLOPS_PER_MAC = 2
MEL_BANDS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCost:
    """What one clip costs one model, and how large it is."""

    name: str
    num_parameters: int
    num_macs: int
    """Multiply-adds of convolutions, matrix products and attention in one forward pass."""


def model_cost(
    name: str,
    *,
    num_classes: int = 8,
    channels: str | tuple[str, ...] = "fmrgb",
    num_frames: int = 16,
    size: tuple[int, int] = (112, 112),
    **options: Any,
) -> ModelCost:
    """Count one model on the meta device.

    Args:
        name: As for `create_model`.
        num_classes: Outputs.
        channels: Planes by preset or name.
        num_frames: T.
        size: (height, width) in pixels.
        **options: The family's own.
    """
    num_planes = len(resolve_channels(channels))
    with torch.device("meta"), torch.no_grad():
        model = create_model(name, num_classes=num_classes, channels=channels, **options).eval()
        model.requires_grad_(requires_grad=False)  # else the counter follows gradients
        extras: dict[str, Tensor] = {
            "mel_image": torch.empty((1, 1, MEL_BANDS, size[1]), dtype=torch.uint8),
            "audio_features": torch.empty((1, NUM_AUDIO_FEATURES)),
        }
        clip = torch.empty((1, num_planes, num_frames, *size), dtype=torch.uint8)
        counter = FlopCounterMode(display=False)
        with counter:
            model(clip, None, *(extras[field] for field in model.batch_fields[2:]))
    return ModelCost(
        name=name,
        num_parameters=sum(parameter.numel() for parameter in model.parameters()),
        num_macs=counter.get_total_flops() // FLOPS_PER_MAC,
    )


def cost_table(costs: Sequence[ModelCost]) -> str:
    """A Markdown table: millions of parameters, billions of multiply-adds a clip."""
    width = max((len(cost.name) for cost in costs), default=0)
    rows = [
        f"| {cost.name:<{width}} | {cost.num_parameters / 1e6:8.2f} | {cost.num_macs / 1e9:8.2f} |"
        for cost in costs
    ]
    head = [f"| {'model':<{width}} | params M | GMACs    |", f"|{'-' * (width + 2)}|---:|---:|"]
    return "\n".join(head + rows)
