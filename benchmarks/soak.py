"""Does a long training grow? Memory, threads and open files over many batches and epochs.

Run: python -m benchmarks.soak [--batches 10000] [--epochs 50]

One loader plays all epochs of a dataset in which one sample of each shard is damaged, so that
bad samples are met, reported and replaced all along. Clips are small: what could leak (batches,
decoders, files, threads) does so by the piece.
"""

from __future__ import annotations

import logging
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.bars import Bar, Table, argument_parser, conclude
from benchmarks.generated import VideoShape
from benchmarks.growth import Growth, ProcessLook, growths, look
from benchmarks.synthetic import write_dataset
from fmrgb_stream.config import ClipConfig
from fmrgb_stream.loader import build_loader
from fmrgb_stream.sample import ClipBatch

BATCH_SIZE: Final = 4
SAMPLES_PER_SHARD: Final = 32
_DAMAGED_ROWS: Final = (5,)
_NUM_LOOKS: Final = 200
_CLIP: Final = ClipConfig(num_frames=4, frame_stride=2, size=(32, 32))
_SHAPE: Final = VideoShape(width=64, height=48, num_frames=24)


@dataclass(frozen=True, slots=True, kw_only=True)
class Soaked:
    """What a run did and how it grew."""

    num_batches: int
    num_epochs: int
    num_substitutes: int
    """Clips that stand in for damaged samples."""
    seconds: float
    looks: list[ProcessLook]
    growths: list[Growth]


def soak(
    folder: Path,
    *,
    num_batches: int,
    num_epochs: int,
    on_batch: Callable[[ClipBatch], None] | None = None,
) -> Soaked:
    """Play `num_epochs` of `num_batches / num_epochs` batches each; `on_batch` is the training."""
    in_epoch = num_batches // num_epochs
    num_samples = -(-in_epoch * BATCH_SIZE // SAMPLES_PER_SHARD) * SAMPLES_PER_SHARD
    root = write_dataset(
        folder,
        num_samples=num_samples,
        samples_per_shard=SAMPLES_PER_SHARD,
        shape=_SHAPE,
        damaged_rows=_DAMAGED_ROWS,
    )
    every = max(1, num_batches // _NUM_LOOKS)
    done, substitutes = 0, 0
    at, looks = list[int](), list[ProcessLook]()
    start = time.perf_counter()
    with build_loader(root, batch_size=BATCH_SIZE, clip=_CLIP) as loader:
        for _ in range(num_epochs):
            for batch in loader:
                done += 1
                substitutes += int(batch.is_substitute.sum())
                if on_batch is not None:
                    on_batch(batch)
                if done % every == 0:
                    at.append(done)
                    looks.append(look())
    return Soaked(
        num_batches=done,
        num_epochs=num_epochs,
        num_substitutes=substitutes,
        seconds=time.perf_counter() - start,
        looks=looks,
        growths=growths(at, looks),
    )


def bars_of(soaked: Soaked, *, num_batches: int) -> list[Bar]:
    """Nothing grows, all batches came, and bad samples were really met in every epoch."""
    return [
        *(growth.bar() for growth in soaked.growths),
        Bar(name="batches", value=soaked.num_batches, limit=num_batches, direction="at least"),
        Bar(
            name="clips that replace a damaged sample, an epoch",
            value=soaked.num_substitutes / soaked.num_epochs,
            limit=1,
            direction="at least",
        ),
    ]


def main() -> int:
    """Soak; 1 when something grows."""
    parser = argument_parser(__doc__)
    parser.add_argument("--batches", type=int, default=None, help="10000, or 1000 with --quick")
    parser.add_argument("--epochs", type=int, default=None, help="50, or 10 with --quick")
    arguments = parser.parse_args()
    num_batches: int = arguments.batches or (1000 if arguments.quick else 10_000)
    num_epochs: int = arguments.epochs or (10 if arguments.quick else 50)
    if num_batches < num_epochs * 2:
        parser.error(f"{num_batches} batches are fewer than 2 in each of {num_epochs} epochs")
    # A line for the first bad sample of every shard is right for a user, and noise here.
    logging.getLogger("fmrgb_stream").setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory(prefix="fmrgb-soak-") as name:
        soaked = soak(Path(name), num_batches=num_batches, num_epochs=num_epochs)
    table = Table(
        title=f"{soaked.num_batches} batches of {BATCH_SIZE} in {soaked.num_epochs} epochs, "
        f"{soaked.num_substitutes} damaged samples replaced, {soaked.seconds:.0f} s; fitted after "
        "the warm-up",
        rows=[
            {
                "quantity": growth.name,
                "level": growth.level,
                "per 1000 batches": growth.slope_per_1000,
                "in all": growth.total,
                "first look": float(getattr(soaked.looks[0], growth.name)),
                "last look": float(getattr(soaked.looks[-1], growth.name)),
            }
            for growth in soaked.growths
        ],
    )
    bars = bars_of(soaked, num_batches=num_batches)
    return conclude("Does a long training grow?", [table], bars, arguments.json)


if __name__ == "__main__":
    sys.exit(main())
