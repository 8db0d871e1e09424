"""What every contestant is given and what it hands back. Types in, types out; no behaviour.

A contestant makes the same clips as all others: of each sample the window in its middle, so that
no random choice has to be shared. The corpus varies the samples' lengths, which spreads the
windows' starts evenly over the positions inside a GOP.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Planes = Literal["fmrgb", "rgb+mel", "rgb"]
"""5 planes (R, G, B, flow, mel), 4 (R, G, B, mel) or 3 (R, G, B), in this order."""
Corpus = Literal["generated", "clips"]
"""Clips that the corpus maker draws, or the real ones that lie beside the project."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchClip:
    """The clip that all make."""

    planes: Planes = "fmrgb"
    num_frames: int = 16
    """T."""
    frame_stride: int = 4
    """Frames from one clip frame to the next."""
    size: tuple[int, int] = (112, 112)
    """(H, W)."""
    batch_size: int = 8

    @property
    def num_planes(self) -> int:
        """C."""
        return {"fmrgb": 5, "rgb+mel": 4, "rgb": 3}[self.planes]


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchData:
    """One corpus on disk, in every form that a contestant reads."""

    name: Corpus
    sources: Path
    """Folder of the original files, {key}.mp4, 640x360 with sound inside."""
    packed: Path
    """Root that `fmrgb pack` made of them with its defaults; one split, `train`."""
    derived: Path
    """Folder for the forms that contestants need, one subfolder each; made by `prepare`."""
    num_samples: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchBatch:
    """A contestant's batch."""

    keys: tuple[str, ...]
    """As in the packed dataset's index."""
    clip_BCTHW: NDArray[np.uint8]
    """uint8 [B, C, T, H, W]; the sample's own memory, complete, ready for the device."""


class Contestant(Protocol):
    """One way to make batches. Every module of `peers` has one under the name `CONTESTANT`."""

    name: str
    """As the tables show it."""
    reads: Literal["packed", "derived", "sources"]
    """`packed` what `fmrgb pack` wrote, `derived` what `prepare` made or arranged anew, `sources`
    the original files. Whose pictures are those of the source files, in whatever container, has the
    word `sources` in the name of its module; these meet in a variant of their own."""

    def prepare(self, data: BenchData) -> None:
        """Convert the corpus into the form this contestant reads.

        Not timed; done once, skipped when it is already there.
        """
        ...

    def batches(
        self, data: BenchData, clip: BenchClip, *, num_workers: int
    ) -> Iterator[BenchBatch]:
        """Batches without end, epoch after epoch, every sample once an epoch (shuffled or not).

        `num_workers` is how many clips may be in the making at the same time: processes for those
        that fork or spawn, threads for those that do not. Closing the iterator frees everything.
        """
        ...
