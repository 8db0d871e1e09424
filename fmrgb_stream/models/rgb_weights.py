"""Weights learned on red, green and blue -> weights for the planes of a clip.

Shape legend: O output channels, I input channels, C planes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from fmrgb_stream.channels import RGB_PLANES
from fmrgb_stream.errors import ConfigError
from fmrgb_stream.models.stem import Plane


def load_rgb_weights(
    model: nn.Module, weights: Mapping[str, Tensor], planes: Sequence[Plane]
) -> None:
    """Fill a model of C planes with the weights of its twin for RGB pictures.

    Raises:
        ConfigError: a layer other than one that reads the planes has another shape.
    """
    adapted: dict[str, Tensor] = {}
    for name, own in model.state_dict().items():
        weight = weights[name]
        if weight.shape != own.shape:
            weight = adapt_rgb_weight(weight, planes)
        if weight.shape != own.shape:
            raise ConfigError(
                f"pretrained weights of layer {name!r}, {tuple(weights[name].shape)}, cannot be "
                f"adapted to {len(planes)} planes; use channels='rgb' or pretrained=False"
            )
        adapted[name] = weight
    model.load_state_dict(adapted)


def adapt_rgb_weight(weight_OIx: Tensor, planes: Sequence[Plane]) -> Tensor:
    """A kernel of 3 input channels -> one of C.

    The planes red, green and blue keep their own filters; every other plane (gray, flow, mel) gets
    the mean of the three. All are scaled by 3 / C, as timm does, so that the sum keeps its size:
    one gray plane gets the sum of the three filters. Planes without names are taken as red, green,
    blue and others in this order, if there are three or more.

    Args:
        weight_OIx: float [O, 3 n, ...], any number of kernel axes; n > 1 where a stem moves blocks
            of pixels into channels.
        planes: The C planes of a clip.

    Returns:
        float [O, C n, ...].
    """
    if weight_OIx.ndim < 3 or weight_OIx.shape[1] % len(RGB_PLANES):
        return weight_OIx
    grouped = weight_OIx.unflatten(1, (-1, len(RGB_PLANES)))
    mean = grouped.mean(2)
    parts = [mean if source is None else grouped[:, :, source] for source in _rgb_sources(planes)]
    scale = len(RGB_PLANES) / len(planes)
    return (torch.stack(parts, dim=2) * scale).flatten(1, 2)


def _rgb_sources(planes: Sequence[Plane]) -> list[int | None]:
    """For each plane the RGB filter it keeps, or None for the mean of the three."""
    if len(planes) >= len(RGB_PLANES) and not any(plane.name for plane in planes):
        return [index if index < len(RGB_PLANES) else None for index in range(len(planes))]
    return [RGB_PLANES.index(plane.name) if plane.name in RGB_PLANES else None for plane in planes]
