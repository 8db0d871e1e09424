"""Every benchmark, one after the other; results into benchmarks/results.

Run: python -m benchmarks [--quick]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path
from typing import Final

from benchmarks.throughput.environment import results_stem

PROJECT: Final = Path(__file__).resolve().parents[1]
RESULTS: Final = PROJECT / "benchmarks" / "results"
TRIALS: Final = PROJECT / "build" / "bench" / "results"
"""Where the files of a quick run go: its numbers are not for showing."""
OTHERS: Final = ("startup", "packing", "scaling", "soak", "decoders", "clip_cost")
HAVE_NO_QUICK: Final = frozenset({"decoders", "clip_cost"})
"""These are quick."""


def command(name: str, folder: Path, *, quick: bool) -> list[str]:
    """How to run one benchmark and where its figures go."""
    flags = ["--quick"] if quick and name not in HAVE_NO_QUICK else []
    if name == "throughput":
        flags += ["--results", str(folder)]
    else:
        flags += ["--json", str(folder / f"{results_stem()}-{name}.json")]
    return [sys.executable, "-m", f"benchmarks.{name}", *flags]


def main() -> int:
    """Run them all, whatever becomes of one; 1 if any of them missed a goal or failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="less of everything; noisy")
    parser.add_argument("--only", action="append", choices=("throughput", *OTHERS))
    arguments = parser.parse_args()
    folder = TRIALS if arguments.quick else RESULTS
    folder.mkdir(parents=True, exist_ok=True)
    ended: dict[str, int] = {}
    for name in arguments.only or ("throughput", *OTHERS):
        print(f"\n== {name}", flush=True)
        process = subprocess.Popen(command(name, folder, quick=arguments.quick), cwd=PROJECT)
        try:
            ended[name] = process.wait()
        except KeyboardInterrupt:
            # It was interrupted too, and ends what it started.
            process.wait()
            return 130
    print(f"\nfiles are in {folder.relative_to(PROJECT)}")
    for name, status in ended.items():
        print(f"{'good' if status == 0 else f'ended with {status}':14} {name}")
    return int(any(ended.values()))


if __name__ == "__main__":
    sys.exit(main())
