"""The random generators of a process <-> plain values and tensors, as a checkpoint keeps them."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch

from fmrgb_stream.errors import ConfigError


def seed_process(seed: int, *, rank: int) -> None:
    """Seed torch for dropout; processes differ, so that they do not drop the same places."""
    torch.manual_seed(seed + rank)


def random_state(device: torch.device) -> dict[str, Any]:
    """Of torch, Python and numpy, and of this process's GPU."""
    name, keys, place, has_gauss, gauss = np.random.get_state(legacy=True)  # noqa: NPY002 - kept, not used
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state(device) if device.type == "cuda" else None,
        "python": random.getstate(),
        "numpy": (name, [int(key) for key in keys], place, has_gauss, gauss),
    }


def restore_random_state(state: dict[str, Any], device: torch.device) -> None:
    """Put everything back.

    Raises:
        ConfigError: the state is that of a process with another kind of device.
    """
    if (state["cuda"] is None) != (device.type != "cuda"):
        raise ConfigError(
            f"this checkpoint was not made on a {device.type}: resume on the same kind of device"
        )
    torch.set_rng_state(state["torch"])
    if state["cuda"] is not None:
        torch.cuda.set_rng_state(state["cuda"], device)
    random.setstate(state["python"])
    name, keys, place, has_gauss, gauss = state["numpy"]
    np.random.set_state((name, np.array(keys, np.uint32), place, has_gauss, gauss))  # noqa: NPY002
