"""Memory of batches, used again once nobody can see it."""

from __future__ import annotations

import weakref
from collections import deque
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray


class BufferPool:
    """Hands out arrays whose memory comes back when the array is gone.

    A fresh page costs a fault when first written; a batch has thousands of them. What is handed
    out is a view: torch keeps that view alive as long as any tensor shares its storage, and only
    when the last of them is gone does its memory become free. Give the view to torch and to nobody
    else: numpy's slices of it refer to the memory behind it, not to the view, and so do not keep
    it from being used again.
    """

    def __init__(self, *, max_free: int) -> None:
        """Keep at most this many free arrays."""
        # Appending and popping are atomic: memory can come back from any thread, at any moment.
        self._free: deque[NDArray[np.generic]] = deque(maxlen=max_free)

    def take(self, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[np.generic]:
        """An array with arbitrary content; every value must be written."""
        memory = self._pop(shape, np.dtype(dtype))
        view = memory.view()
        weakref.finalize(view, self._free.append, memory).atexit = False
        return view

    def _pop(self, shape: tuple[int, ...], dtype: np.dtype[np.generic]) -> NDArray[np.generic]:
        while True:
            try:
                memory = self._free.pop()
            except IndexError:
                return np.empty(shape, dtype)
            if memory.shape == shape and memory.dtype == dtype:
                return memory
