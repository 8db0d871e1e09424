"""Job -> what a fresh process made of it; whatever it started is ended with it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from benchmarks.throughput.child import Job
from benchmarks.throughput.peers import ffmpeg
from benchmarks.throughput.process_tree import kill_session

PROJECT: Final = Path(__file__).resolve().parents[2]
_LOG_LINES: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """A result, or why there is none."""

    result: Mapping[str, Any] = field(default_factory=dict[str, Any])
    failure: str = ""


def run_child(job: Job, *, timeout_seconds: float) -> Outcome:
    """Run a job. Returns when all its processes have ended, also on Ctrl-C."""
    with tempfile.TemporaryDirectory(prefix="fmrgb-bench-") as scratch:
        folder = Path(scratch)
        job_path, result_path, log_path = (folder / name for name in ("job", "result", "log"))
        (folder / "tmp").mkdir()
        job_path.write_text(job.to_json(), encoding="utf-8")
        command = [sys.executable, "-m", "benchmarks.throughput.child"]
        with log_path.open("wb") as log:
            process = subprocess.Popen(
                [*command, str(job_path), str(result_path)],
                cwd=PROJECT,
                env=_environment(job, folder),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                process.wait(timeout_seconds)
                is_late = False
            except subprocess.TimeoutExpired:
                is_late = True
            finally:
                kill_session(process.pid)
                process.wait()
        if is_late:
            return Outcome(failure=f"no result after {timeout_seconds:.0f} s")
        if not result_path.is_file():
            text = log_path.read_text(encoding="utf-8", errors="replace")
            last = " | ".join(text.strip().splitlines()[-_LOG_LINES:])
            return Outcome(failure=f"the process ended with {process.returncode}: {last}")
        return Outcome(**json.loads(result_path.read_text(encoding="utf-8")))


def _environment(job: Job, folder: Path) -> dict[str, str]:
    """Temporary files go where they are removed; peers find FFmpeg's libraries."""
    is_peer = job.role == "peer"
    variables = ffmpeg.environment(folder / "ffmpeg") if is_peer else dict(os.environ)
    return {**variables, "TMPDIR": str(folder / "tmp")}
