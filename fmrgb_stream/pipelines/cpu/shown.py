"""Source frames -> the frames a clip shows: some twice, some blended of two, some padding."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def shown_frames(
    indices: NDArray[np.int64],
    seconds: NDArray[np.int64],
    weights: NDArray[np.float64],
    read: Callable[[Sequence[int]], NDArray[np.uint8]],
) -> NDArray[np.uint8]:
    """uint8 [..., N, H, W]: the frames of `indices`, blended with those of `seconds`.

    Blends are rounded to 8 bits, like the frames they are made of.

    Args:
        indices: int64 [N]; 0 everywhere where it is negative. One of them at least is not.
        seconds: int64 [N]: the other frame of each blend.
        weights: float64 [N]: its share.
        read: gives frames, uint8 [..., n, H, W], of n indices that rise.
    """
    blends = (weights > 0) & (seconds != indices) & (indices >= 0)
    wanted = np.unique(np.concatenate([indices[indices >= 0], seconds[blends]]))
    frames: NDArray[Any] = read(wanted.tolist())
    shown = frames.take(np.searchsorted(wanted, indices), axis=-3, mode="clip")
    shown[..., indices < 0, :, :] = 0
    for k in np.flatnonzero(blends):
        second = frames[..., np.searchsorted(wanted, seconds[k]), :, :]
        mixed = (1 - weights[k]) * shown[..., k, :, :] + weights[k] * second
        shown[..., k, :, :] = np.rint(mixed)
    return shown
