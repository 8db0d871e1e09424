"""Small arrays of a batch -> the same as tensors on a device, in one copy that nobody waits for."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from numpy.typing import NDArray

_ALIGNMENT: Final = 16
"""Bytes; no type that travels is wider."""


def to_device(arrays: Mapping[str, NDArray[np.generic]], device: str) -> dict[str, Tensor]:
    """The arrays by name on the device; on the CPU they share memory with the tensors.

    For a GPU they are laid side by side in page-locked memory, which torch's allocator keeps for
    the next batch once the copy is done; the tensors are parts of one buffer there.
    """
    arrays = {name: np.ascontiguousarray(values) for name, values in arrays.items()}
    if device == "cpu":
        return {name: _tensor(values) for name, values in arrays.items()}
    places, num_bytes = dict[str, int](), 0
    for name, values in arrays.items():
        places[name] = num_bytes
        num_bytes += math.ceil(values.nbytes / _ALIGNMENT) * _ALIGNMENT
    is_cuda = torch.device(device).type == "cuda"
    staged = torch.empty(max(num_bytes, 1), dtype=torch.uint8, pin_memory=is_cuda)
    bytes_of_host = staged.numpy()
    for name, values in arrays.items():
        raw = values.reshape(-1).view(np.uint8)
        bytes_of_host[places[name] : places[name] + len(raw)] = raw
    there = staged.to(device, non_blocking=True)
    return {
        name: there[places[name] : places[name] + values.nbytes]
        .view(_tensor(values).dtype)
        .reshape(values.shape)
        for name, values in arrays.items()
    }


def _tensor(values: NDArray[np.generic]) -> Tensor:
    return torch.from_numpy(values)  # pyright: ignore[reportUnknownMemberType]
