"""Which of how many processes this one is, and the cores that it may use."""

from __future__ import annotations

import os
from dataclasses import dataclass

from fmrgb_stream.errors import ConfigError


def usable_cores() -> int:
    """Cores this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True, slots=True, kw_only=True)
class WorldInfo:
    """This process among all that share the epoch."""

    rank: int = 0
    world_size: int = 1
    local_rank: int = 0
    local_world_size: int = 1
    """Processes on this machine; they share its cores."""

    def __post_init__(self) -> None:
        """Refuse a rank outside the world.

        Raises:
            ConfigError: rank or local_rank is not in 0..world_size-1.
        """
        if self.world_size < 1 or not 0 <= self.rank < self.world_size:
            raise ConfigError(f"rank {self.rank} does not fit world_size {self.world_size}")
        if self.local_world_size < 1:
            raise ConfigError(f"local_world_size {self.local_world_size} must be at least 1")
        if not 0 <= self.local_rank < self.world_size:
            raise ConfigError(
                f"local_rank {self.local_rank} does not fit world_size {self.world_size}"
            )

    @classmethod
    def from_environment(cls) -> WorldInfo:
        """Read RANK, WORLD_SIZE, LOCAL_RANK, LOCAL_WORLD_SIZE as torchrun and Accelerate set them.

        Raises:
            ConfigError: a variable is not a number, or they do not fit each other.
        """
        names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
        defaults = ("0", "1", "0", "1")
        found = [os.environ.get(*pair) for pair in zip(names, defaults, strict=True)]
        try:
            rank, world_size, local_rank, local_world_size = map(int, found)
        except ValueError as error:
            raise ConfigError(f"{', '.join(names)} must be numbers, got {found}") from error
        return cls(
            rank=rank,
            world_size=world_size,
            local_rank=local_rank,
            local_world_size=local_world_size,
        )
