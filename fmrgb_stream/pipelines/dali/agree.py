"""What one rank found -> what all ranks found, so that they choose alike."""

from __future__ import annotations

from typing import TypeVar

import torch
import torch.distributed

from fmrgb_stream.distributed import WorldInfo

T = TypeVar("T")


def can_agree(world: WorldInfo) -> bool:
    """Whether ranks can hear of each other: one process, or a process group that exists."""
    return world.world_size == 1 or (
        torch.distributed.is_available() and torch.distributed.is_initialized()
    )


def of_all_ranks(found: T, world: WorldInfo) -> list[T]:
    """What every rank found; all of them have to come here. A collective, unless alone.

    A loader of one rank alone waits for no other, whether or not there is a process group.
    """
    if world.world_size == 1:
        return [found]
    gathered: list[T] = [found] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(gathered, found)
    return gathered
