"""A batch -> the same batch on a device."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

from fmrgb_stream.sample import ClipBatch


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
