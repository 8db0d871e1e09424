"""PyTorchVideo's SlowFast weights file -> the weights of our SlowFast, by name.

Its files (SLOWFAST_8x8_R50.pyth, SLOWFAST_8x8_R101.pyth) were trained on the R, G, B of Kinetics-400.
"""

from __future__ import annotations

import os
import pickle
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, cast

import torch
from torch import Tensor, nn

from fmrgb_stream.errors import ConfigError
from fmrgb_stream.models.rgb_weights import load_rgb_weights
from fmrgb_stream.models.stem import Plane

OWN_PARTS: Final = ("stem.", "head.")
"""Statistics of the planes and the classes: not in the file."""
_PATHS: Final = ("slow", "fast")
_LAYERS: Final = {"conv": 0, "conv_fast_to_slow": 0, "norm": 1}
_RULES: Final[tuple[tuple[str, Callable[[re.Match[str]], str]], ...]] = (
    (
        r"blocks\.0\.multipathway_blocks\.([01])\.(conv|norm)",
        lambda m: f"{_PATHS[int(m[1])]}_stem.0.{_LAYERS[m[2]]}",
    ),
    (
        r"blocks\.(\d)\.multipathway_fusion\.(conv_fast_to_slow|norm)",
        lambda m: f"laterals.{m[1]}.{_LAYERS[m[2]]}",
    ),
    (
        r"blocks\.(\d)\.multipathway_blocks\.([01])\.res_blocks\.(\d+)\.branch1_(conv|norm)",
        lambda m: f"{_stage(m)}.shortcut.{_LAYERS[m[4]]}",
    ),
    (
        r"blocks\.(\d)\.multipathway_blocks\.([01])\.res_blocks\.(\d+)\.branch2\.(conv|norm)_([abc])",
        lambda m: f"{_stage(m)}.branch.{'abc'.index(m[5])}.{_LAYERS[m[4]]}",
    ),
)


def load_pytorchvideo(
    model: nn.Module, path: str | os.PathLike[str], planes: Sequence[Plane]
) -> None:
    """Load all but the head, the first layers adapted to the planes.

    Raises:
        ConfigError: there is no such file, it holds more than tensors, or it is of another network.
    """
    if not Path(path).is_file():
        raise ConfigError(f"published_weights={os.fspath(path)!r} is not a file")
    try:
        content = cast("dict[str, Any]", torch.load(path, map_location="cpu", weights_only=True))
    except (pickle.UnpicklingError, RuntimeError) as error:
        raise ConfigError(
            f"published_weights={os.fspath(path)!r} is damaged, or holds more than tensors"
        ) from error
    published = cast("Mapping[str, Tensor]", content.get("model_state", content))
    weights = {our_name(name): weight for name, weight in published.items()}
    own = model.state_dict()
    weights |= {name: weight for name, weight in own.items() if name.startswith(OWN_PARTS)}
    missing = sorted(own.keys() - weights.keys())
    if missing:
        raise ConfigError(
            f"published_weights={os.fspath(path)!r} lack {len(missing)} layers, e.g. {missing[0]!r}; "
            "they must be PyTorchVideo's for SlowFast of the same depth"
        )
    load_rgb_weights(model, weights, planes)


def our_name(published: str) -> str:
    """`blocks.0.multipathway_blocks.1.conv.weight` -> `fast_stem.0.0.weight`; others stay."""
    layer, _, tensor = published.rpartition(".")
    for pattern, ours in _RULES:
        match = re.fullmatch(pattern, layer)
        if match:
            return f"{ours(match)}.{tensor}"
    return published


def _stage(match: re.Match[str]) -> str:
    """Their block 0 is the stem."""
    return f"{_PATHS[int(match[2])]}_stages.{int(match[1]) - 1}.{match[3]}"
