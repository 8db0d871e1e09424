"""What do more threads, more processes and more samples do to the loader?

Run: python -m benchmarks.scaling

Datasets are synthetic (see benchmarks/synthetic.py); clips are the default ones of 16 frames,
stride 4, at 112x112, FMRGB. Everything comes from the page cache.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from benchmarks.bars import Bar, Table, argument_parser, conclude
from benchmarks.scaling.ranks import measure_ranks
from benchmarks.scaling.sizes import measure_sizes
from benchmarks.scaling.threads import measure_workers
from benchmarks.synthetic import write_dataset

PARTS = ("workers", "ranks", "sizes")


def main() -> int:
    """Measure the parts asked for; 1 when a bar is missed."""
    parser = argument_parser(__doc__)
    parser.add_argument("--rounds", type=int, default=None, help="5, or 1 with --quick")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    arguments = parser.parse_args()
    quick: bool = arguments.quick
    rounds: int = arguments.rounds or (1 if quick else 5)
    sizes = [10**3, 10**5] if quick else [10**3, 10**4, 10**5, 10**6, 10**7]
    world_sizes = [1, 2] if quick else [1, 2, 3, 4]
    tables, bars = list[Table](), list[Bar]()
    with tempfile.TemporaryDirectory(prefix="fmrgb-scaling-") as name:
        folder = Path(name)
        small = write_dataset(folder / "small", num_samples=128 if quick else 384)
        if "workers" in arguments.parts:
            tables.append(measure_workers(small, rounds=rounds))
        if "ranks" in arguments.parts:
            table, judged = measure_ranks(small, world_sizes, rounds=rounds)
            tables.append(table)
            bars += judged
        if "sizes" in arguments.parts:
            table, judged = measure_sizes(folder, sizes, rounds=rounds)
            tables.append(table)
            bars += judged
    return conclude("What do more threads, processes and samples do?", tables, bars, arguments.json)


if __name__ == "__main__":
    sys.exit(main())
