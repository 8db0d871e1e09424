"""Which backend makes the planes for a device, and moving a batch there."""

from __future__ import annotations

import logging
from dataclasses import fields, replace
from typing import Any, Literal

from fmrgb_stream.config import check_choice
from fmrgb_stream.errors import ConfigError
from fmrgb_stream.sample import ClipBatch

Backend = Literal["auto", "cpu", "dali"]
_log = logging.getLogger(__name__)


def check_backend(backend: Backend, device: str) -> None:
    """Refuse what this machine or release cannot do, before any work.

    Raises:
        ConfigError: the backend or device is unknown, or not to be had here; with the cure.
    """
    check_choice("backend", backend, Backend)
    if backend == "dali":
        raise ConfigError("backend='dali' is not in this release; use backend='cpu' or 'auto'")
    if device == "cpu":
        return
    import torch

    if not device.startswith("cuda"):
        raise ConfigError(f"device={device!r}; use 'cpu', 'cuda' or 'cuda:<index>'")
    if not torch.cuda.is_available():
        raise ConfigError(f"device={device!r}, but torch finds no CUDA device; use device='cpu'")
    _log.info("planes are made on the CPU and copied to %s", device)


def move_batch(batch: ClipBatch, device: str) -> ClipBatch:
    """The batch with its tensors on `device`; the same object when it is there already."""
    if device == "cpu":
        return batch
    import torch

    moved: dict[str, Any] = {}
    for column in fields(batch):
        value = getattr(batch, column.name)
        if isinstance(value, torch.Tensor):
            moved[column.name] = value.to(device, non_blocking=True)
    return replace(batch, **moved)
