"""Memory of batches, used again once nobody can see it; private, or shared with other processes."""

from __future__ import annotations

import itertools
import mmap
import os
import weakref
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_serials = itertools.count()


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One batch's memory."""

    memory: NDArray[np.uint8]
    """uint8 [bytes]."""
    serial: int
    """Its number; no other memory of this process ever has it."""
    file_descriptor: int | None
    """Of the anonymous file that other processes map; None for private memory."""

    @classmethod
    def private(cls, num_bytes: int) -> Block:
        """Memory of this process alone."""
        memory = np.empty(num_bytes, np.uint8)
        return cls(memory=memory, serial=next(_serials), file_descriptor=None)

    @classmethod
    def shared(cls, num_bytes: int) -> Block:
        """Memory that other processes can map: a file without a name, gone with its last user."""
        descriptor = os.memfd_create("fmrgb-batch")
        os.ftruncate(descriptor, num_bytes)
        memory = map_shared(descriptor, num_bytes)
        weakref.finalize(memory, os.close, descriptor)
        return cls(memory=memory, serial=next(_serials), file_descriptor=descriptor)


def map_shared(descriptor: int, num_bytes: int) -> NDArray[np.uint8]:
    """uint8 [num_bytes] of a shared block; the descriptor may be closed afterwards."""
    return np.frombuffer(mmap.mmap(descriptor, num_bytes), np.uint8)


class BufferPool:
    """Hands out blocks whose memory comes back when its array is gone.

    A fresh page costs a fault when first written; a batch has thousands of them. The array that is
    handed out is a view: torch keeps that view alive as long as any tensor shares its storage, and
    only when the last of them is gone does its memory become free. Give the view to torch and to
    nobody else: numpy's slices of it refer to the memory behind it, not to the view, and so do not
    keep it from being used again.

    Memory that a fork of this process may see in a batch of its own is not used again.
    """

    def __init__(self, allocate: Callable[[int], Block], *, max_free: int) -> None:
        """Keep at most this many free blocks."""
        self._allocate = allocate
        # Appending and popping are atomic: memory can come back from any thread, at any moment.
        self._free: deque[Block] = deque(maxlen=max_free)
        self._is_closed = False

    def take(self, num_bytes: int) -> Block:
        """A block with arbitrary content; every value must be written."""
        block = self._pop(num_bytes)
        view = block.memory.view()
        weakref.finalize(view, _give_back, weakref.ref(self), block, _forks.count).atexit = False
        return Block(memory=view, serial=block.serial, file_descriptor=block.file_descriptor)

    def close(self) -> None:
        """Let go of the free blocks, and of every other one as soon as it comes back."""
        self._is_closed = True
        self._free.clear()

    def put(self, block: Block) -> None:
        """Take a block back."""
        if not self._is_closed:
            self._free.append(block)

    def _pop(self, num_bytes: int) -> Block:
        while True:
            try:
                block = self._free.pop()
            except IndexError:
                return self._allocate(num_bytes)
            if len(block.memory) == num_bytes:
                return block


class _Forks:
    """Counts the forks of this process."""

    def __init__(self) -> None:
        self.count = 0
        os.register_at_fork(before=self._add)

    def _add(self) -> None:
        self.count += 1


_forks = _Forks()


def _give_back(pool: weakref.ref[BufferPool], block: Block, num_forks: int) -> None:
    owner = pool()
    if owner is not None and num_forks == _forks.count:
        owner.put(block)
