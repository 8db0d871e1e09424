"""A batch -> the same batch on a device."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

from fmrgb_stream.sample import ClipBatch

if TYPE_CHECKING:
    from torch import Tensor


def move_batch(batch: ClipBatch, device: str) -> ClipBatch:
    """The batch with its tensors on `device`; the same object when it is there already.

    What is on the host travels in one copy from page-locked memory, which nobody waits for.
    """
    if device == "cpu":
        return batch
    import torch

    from fmrgb_stream.pipelines.staging import to_device

    on_host: dict[str, Tensor] = {}
    for column in fields(batch):
        value = getattr(batch, column.name)
        if isinstance(value, torch.Tensor) and value.device.type == "cpu":
            on_host[column.name] = value
    arrays = {name: value.numpy() for name, value in on_host.items()}
    moved: dict[str, Any] = {**to_device(arrays, device)}
    return replace(batch, **moved)
