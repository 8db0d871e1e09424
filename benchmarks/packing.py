"""How fast is `fmrgb pack` beside a plain transcode with the same settings?

Run: python -m benchmarks.packing [--sources 128]

Both are whole commands, from process start to the last byte: `fmrgb pack` with its defaults on a
folder of 640x360 mp4 files with sound, and `benchmarks.plain_transcode` on the same folder. The
second table says where packing's time goes, a sample, on one thread. A dataset pays the second of
CPU that packing takes to start once, so there are enough sources for it not to count for much.
"""

from __future__ import annotations

import ctypes
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Final

import numpy as np

from benchmarks.bars import Bar, Table, argument_parser, conclude
from benchmarks.packing_stages import stage_table
from benchmarks.throughput.media_files import write_mp4
from benchmarks.throughput.scenes import draw_frames, draw_sound

SPEED_OF_PLAIN: Final = 0.85
WIDTH, HEIGHT, FPS, SECONDS, SOUND_RATE = 640, 360, 30, 6, 48000
_NUM_DISTINCT: Final = 8
_PR_SET_CHILD_SUBREAPER: Final = 36


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """One run of one command."""

    wall_seconds: float
    cpu_seconds: float
    """Of the command and all its processes."""


def write_sources(folder: Path, num_sources: int) -> Path:
    """6 s files of drawn scenes that move; after the first eight they repeat under other names."""
    folder.mkdir(parents=True)
    for index in range(num_sources):
        path = folder / f"clip-{index:04d}.mp4"
        if index >= _NUM_DISTINCT:
            shutil.copy(folder / f"clip-{index % _NUM_DISTINCT:04d}.mp4", path)
            continue
        rng = np.random.default_rng([7, index])
        sound_2S = draw_sound(SECONDS, sample_rate=SOUND_RATE, rng=rng)
        frames = draw_frames(SECONDS * FPS, width=WIDTH, height=HEIGHT, fps=FPS, rng=rng)
        write_mp4(path, frames, sound_2S, fps=Fraction(FPS), sample_rate=SOUND_RATE)
    return folder


def run_command(command: list[str]) -> Spent:
    """Run to the end. Processes that outlive the command are waited for, so that they count.

    Raises:
        OSError: this system cannot hand them over (it is not Linux).
        RuntimeError: the command failed; with what it said.
    """
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER) failed")
    before, start = _children_cpu(), time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    wall = time.perf_counter() - start
    _wait_for_orphans()
    if done.returncode:
        raise RuntimeError(f"{command} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return Spent(wall_seconds=wall, cpu_seconds=_children_cpu() - before)


def compare(sources: Path, scratch: Path, *, rounds: int) -> dict[str, list[Spent]]:
    """Both commands once a round, in turning order; the first round warms up."""
    commands: dict[str, Callable[[Path], list[str]]] = {
        "fmrgb pack": lambda target: [
            sys.executable, "-m", "fmrgb_stream.cli.main", "pack", str(sources), str(target),
        ],
        "plain transcode": lambda target: [
            sys.executable, "-m", "benchmarks.plain_transcode", str(sources), str(target),
        ],
    }  # fmt: skip
    spent: dict[str, list[Spent]] = {name: [] for name in commands}
    for number in range(rounds + 1):
        for name in list(commands)[:: -1 if number % 2 else 1]:
            target = scratch / "target"
            taken = run_command(commands[name](target))
            shutil.rmtree(target)
            if number:
                spent[name].append(taken)
    return spent


def bars_of(spent: dict[str, list[Spent]]) -> list[Bar]:
    """Speed is sources by wall time; ratios are taken inside rounds."""
    pairs = list(zip(spent["plain transcode"], spent["fmrgb pack"], strict=True))
    ratio = statistics.median(plain.wall_seconds / ours.wall_seconds for plain, ours in pairs)
    name = "speed of fmrgb pack to that of a plain transcode"
    return [Bar(name=name, value=ratio, limit=SPEED_OF_PLAIN, direction="at least")]


def table_of(spent: dict[str, list[Spent]], num_sources: int) -> Table:
    """Medians and spread of both commands."""
    plain = spent["plain transcode"]
    rows: list[dict[str, str | int | float]] = []
    for name, runs in spent.items():
        wall = [run.wall_seconds for run in runs]
        pairs = list(zip(plain, runs, strict=True))
        rows.append(
            {
                "command": name,
                "sources/s": num_sources / statistics.median(wall),
                "best": num_sources / min(wall),
                "worst": num_sources / max(wall),
                "wall ratio": statistics.median(p.wall_seconds / r.wall_seconds for p, r in pairs),
                "CPU ratio": statistics.median(p.cpu_seconds / r.cpu_seconds for p, r in pairs),
                "CPU ms a source": statistics.median(r.cpu_seconds for r in runs)
                * 1e3
                / num_sources,
            }
        )
    return Table(title=f"{num_sources} sources of {WIDTH}x{HEIGHT}, {SECONDS} s", rows=rows)


def main() -> int:
    """Compare; 1 when packing is too slow."""
    parser = argument_parser(__doc__)
    parser.add_argument("--sources", type=int, default=None, help="128, or 24 with --quick")
    parser.add_argument("--rounds", type=int, default=None, help="5, or 1 with --quick")
    arguments = parser.parse_args()
    num_sources: int = arguments.sources or (24 if arguments.quick else 128)
    rounds: int = arguments.rounds or (1 if arguments.quick else 5)
    with tempfile.TemporaryDirectory(prefix="fmrgb-packing-") as name:
        folder = Path(name)
        sources = write_sources(folder / "sources", num_sources)
        spent = compare(sources, folder, rounds=rounds)
        tables = [table_of(spent, num_sources), stage_table(sources, folder / "stages")]
    question = "How fast is packing beside a plain transcode?"
    return conclude(question, tables, bars_of(spent), arguments.json)


def _wait_for_orphans() -> None:
    while True:
        try:
            os.wait()
        except ChildProcessError:
            return


def _children_cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    sys.exit(main())
