"""How long from nothing to the first batch, and what is the time made of?

Run: python -m benchmarks.startup [--root DATASET]

Every figure is of a fresh process with its files in the page cache; the first batch has 8 default
FMRGB clips. The second table says which libraries' modules the time of loading them goes to.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from benchmarks.bars import Bar, Table, argument_parser, conclude
from benchmarks.synthetic import write_dataset

IMPORT_SECONDS: Final = 0.3
FIRST_BATCH_SECONDS: Final = 1.5
DEMO: Final = Path(__file__).resolve().parents[1] / "shards" / "demo"
_STEPS: Final = (
    "interpreter",
    "import fmrgb_stream",
    "build_loader: modules",
    "build_loader: call",
    "first batch",
    "start to first batch",
)
_LIBRARIES_SHOWN: Final = 12


def start_once(root: Path, *, python_options: Sequence[str] = ()) -> tuple[dict[str, float], str]:
    """(seconds by step, what the process wrote to stderr) of one fresh process."""
    module = ("-m", "benchmarks.startup_child", str(root), repr(time.monotonic()))
    done = subprocess.run(
        [sys.executable, *python_options, *module], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"the started process failed:\n{done.stderr}")
    return json.loads(done.stdout), done.stderr


def import_costs(lines: Iterable[str]) -> dict[str, tuple[float, int]]:
    """`-X importtime` lines -> (ms spent in the library's own modules, their number) by library."""
    spent, modules = defaultdict[str, float](float), defaultdict[str, int](int)
    for line in lines:
        own, _, rest = line.removeprefix("import time:").partition("|")
        if not line.startswith("import time:") or not own.strip().isdigit():
            continue
        name = rest.partition("|")[2].strip().partition(".")[0]
        library = "standard library" if name in sys.stdlib_module_names else name
        spent[library] += int(own) / 1e3
        modules[library] += 1
    return {name: (spent[name], modules[name]) for name in spent}


def measure(roots: Mapping[str, Path], *, rounds: int) -> tuple[Table, list[Bar]]:
    """Fresh processes for every dataset, in turning order."""
    taken: dict[str, list[dict[str, float]]] = {name: [] for name in roots}
    for number in range(rounds + 1):
        for name in list(roots)[:: -1 if number % 2 else 1]:
            steps, _ = start_once(roots[name])
            if number:  # the first round fills the page cache
                taken[name].append(steps)
    medians = {
        name: {step: statistics.median(run[step] for run in runs) for step in _STEPS}
        for name, runs in taken.items()
    }
    table = Table(
        title="seconds by step, median of fresh processes",
        rows=[{"dataset": name, **steps} for name, steps in medians.items()],
    )
    return table, [bar for name, steps in medians.items() for bar in bars_of(name, steps)]


def bars_of(name: str, steps: Mapping[str, float]) -> list[Bar]:
    """What one dataset's start has to reach."""
    limits = {"import fmrgb_stream": IMPORT_SECONDS, "first batch": FIRST_BATCH_SECONDS}
    return [
        Bar(name=f"{step}, {name}", value=steps[step], limit=limit, unit="s")
        for step, limit in limits.items()
    ]


def library_table(root: Path) -> Table:
    """The dearest libraries to load on the way to the first batch."""
    costs = import_costs(start_once(root, python_options=("-X", "importtime"))[1].splitlines())
    dearest = sorted(costs, key=lambda name: -costs[name][0])
    shown, others = dearest[:_LIBRARIES_SHOWN], dearest[_LIBRARIES_SHOWN:]
    rows: list[dict[str, str | int | float]] = [
        {"library": name, "own ms": costs[name][0], "modules": costs[name][1]} for name in shown
    ]
    rest = (sum(costs[name][0] for name in others), sum(costs[name][1] for name in others))
    rows.append({"library": f"{len(others)} others", "own ms": rest[0], "modules": rest[1]})
    everything = (sum(ms for ms, _ in costs.values()), sum(n for _, n in costs.values()))
    rows.append({"library": "all", "own ms": everything[0], "modules": everything[1]})
    return Table(title="loading libraries (own time of modules; measuring slows it)", rows=rows)


def main() -> int:
    """Measure; 1 when a bar is missed."""
    parser = argument_parser(__doc__)
    parser.add_argument("--rounds", type=int, default=None, help="7, or 1 with --quick")
    parser.add_argument("--root", type=Path, default=None, help="one more dataset")
    arguments = parser.parse_args()
    rounds: int = arguments.rounds or (1 if arguments.quick else 7)
    with tempfile.TemporaryDirectory(prefix="fmrgb-startup-") as name:
        roots = {
            "demo shards": DEMO,
            "1024 packed samples": write_dataset(Path(name), num_samples=1024),
        }
        if arguments.root is not None:
            roots[str(arguments.root)] = arguments.root
        table, bars = measure(roots, rounds=rounds)
    tables = [table, library_table(DEMO)]
    question = "How long from nothing to the first batch?"
    return conclude(question, tables, bars, arguments.json)


if __name__ == "__main__":
    sys.exit(main())
