"""What a trainer needs of a loader, and the splits of one run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from fmrgb_stream.sample import ClipBatch


class BatchLoader(Protocol):
    """What is needed of a loader; `build_loader` gives one."""

    def __len__(self) -> int:
        """Batches an epoch."""
        ...

    def __iter__(self) -> Iterator[ClipBatch]:
        """The batches of one epoch."""
        ...

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that the next iteration plays."""
        ...


@runtime_checkable
class HasPosition(Protocol):
    """A loader that can be put back to where it stood."""

    def state_dict(self) -> dict[str, Any]:
        """Its place, counting delivered batches."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go there."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaders:
    """The splits of one run."""

    train: BatchLoader
    val: BatchLoader
    test: BatchLoader | None = None
