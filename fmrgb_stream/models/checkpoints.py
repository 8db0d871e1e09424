"""Local weights file -> model: safetensors, or a torch file read with `weights_only`."""

from __future__ import annotations

import os
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from timm.models import load_state_dict
from torch import Tensor

from fmrgb_stream.errors import ConfigError
from fmrgb_stream.models.interface import ClipModel

NAMED_AT_MOST: Final = 3


def load_checkpoint(
    model: ClipModel, path: str | os.PathLike[str], *, new_head: bool = False
) -> None:
    """Load all weights of a model, its statistics of the planes too.

    Nothing is unpickled but tensors. A file with several states is read as timm reads it: averaged
    weights first, then `state_dict`, then `model`.

    Args:
        model: Of the same name, options and planes as the one that was saved.
        path: A local `.safetensors` or torch file.
        new_head: Leave the head as it is, for other classes.

    Raises:
        ConfigError: there is no such file, it holds more than tensors, or weights are missing, unknown
            or of another shape.
    """
    if not Path(path).is_file():
        raise ConfigError(f"checkpoint={os.fspath(path)!r} is not a file")
    try:
        weights = dict(load_state_dict(os.fspath(path), weights_only=True))
    except (pickle.UnpicklingError, RuntimeError) as error:
        raise ConfigError(
            f"checkpoint={os.fspath(path)!r} is damaged, or holds more than tensors, and "
            "is not loaded; save model.state_dict(), best as .safetensors"
        ) from error
    own = model.state_dict()
    if new_head:
        heads = model.head_prefixes()
        weights = {name: value for name, value in weights.items() if not name.startswith(heads)}
        weights |= {name: value for name, value in own.items() if name.startswith(heads)}
    _check_fit(path, weights, own, new_head=new_head)
    model.load_state_dict(weights)


def _check_fit(
    path: str | os.PathLike[str],
    weights: Mapping[str, Tensor],
    own: Mapping[str, Tensor],
    *,
    new_head: bool,
) -> None:
    common = weights.keys() & own.keys()
    wrong = {
        "missing": sorted(own.keys() - common),
        "unknown": sorted(weights.keys() - common),
        "of another shape": sorted(n for n in common if weights[n].shape != own[n].shape),
    }
    found = [
        f"{len(names)} {what} ({', '.join(names[:NAMED_AT_MOST])}{', ...' * (len(names) > NAMED_AT_MOST)})"
        for what, names in wrong.items()
        if names
    ]
    if not found:
        return
    cure = "build the model with the name, options and channels that it was saved with"
    if not new_head:
        cure += ", or with new_head=True if only the classes differ"
    raise ConfigError(f"checkpoint={os.fspath(path)!r} does not fit: {'; '.join(found)}; {cure}")
