"""Every check in a process of its own, so that a crash or a hang is a result as well.

Run on a machine with a GPU: python -m benchmarks.gpu.run --out results.json
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import torch

from benchmarks.gpu import delivery, engine, pictures, speed, waiting
from benchmarks.gpu.outcome import Outcome
from benchmarks.throughput.environment import environment
from fmrgb_stream.pipelines.dali.library import has_dali

CHECKS: Final[dict[str, Callable[[str], Outcome]]] = {
    "G1 frames": pictures.frames_are_exact,
    "G2 colours": pictures.colours,
    "G3 flow engine": engine.flow_engine,
    "G4 seeking": pictures.seeking,
    "G5 heights": pictures.heights,
    "G6 bad samples": delivery.bad_samples,
    "G7 threads": pictures.threads,
    "G8 sound": delivery.sound,
    "G9 held batches": delivery.held_batches,
    "G10 resuming": delivery.resuming,
    "G11 second GPU": delivery.second_gpu,
    "S1 speed": speed.speed,
    "S2 data wait": waiting.data_wait,
}
TIMEOUT_SECONDS: Final = 300
KERNEL_DRIVER: Final = Path("/proc/driver/nvidia/version")
_MARK: Final = "outcome: "


def why_not(device: str) -> str:
    """Why nothing can be run on this device; empty when it can."""
    if not has_dali():
        return "no DALI: pip install 'fmrgb_stream[dali-cu13]'"
    if device != "cpu" and not torch.cuda.is_available():
        return "no GPU"
    return ""


def run_check(name: str, device: str, *, timeout_seconds: float = TIMEOUT_SECONDS) -> Outcome:
    """One check in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.gpu.run", "--check", name, "--device", device]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=timeout_seconds, check=False
        )
    except subprocess.TimeoutExpired:
        return Outcome(status="fail", facts={"error": f"hung for {timeout_seconds:g} s"})
    lines = [line for line in done.stdout.splitlines() if line.startswith(_MARK)]
    if not lines:
        last = " ".join(done.stderr.split())[-300:]
        return Outcome(status="fail", facts={"error": f"ended with {done.returncode}: {last}"})
    return Outcome(**json.loads(lines[-1].removeprefix(_MARK)))


def machine(device: str) -> dict[str, str]:
    """This machine, with GPU and driver."""
    facts = environment()
    if device != "cpu":
        facts["gpu"] = torch.cuda.get_device_name(device)
        facts["driver"] = driver_version()
    return facts


def driver_version() -> str:
    """As `nvidia-smi` or the kernel tells it; containers may have neither."""
    query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, check=True, timeout=30)
        return done.stdout.strip().partition("\n")[0]
    except (OSError, subprocess.SubprocessError):
        try:
            return KERNEL_DRIVER.read_text(encoding="utf-8").partition("\n")[0]
        except OSError:
            return "unknown: no nvidia-smi, and the kernel does not say"


def results(names: list[str], device: str, out: Path | None = None) -> dict[str, Any]:
    """All checks, told as they end; the file is written anew after each."""
    problem = why_not(device)
    found: dict[str, Any] = {
        "machine": environment() if problem else machine(device),
        "device": device,
        "checks": {},
    }
    for name in names:
        if problem:
            outcome = Outcome(status="not run", facts={"reason": problem})
        else:
            outcome = run_check(name, device)
        found["checks"][name] = asdict(outcome)
        facts = ", ".join(f"{key}: {value}" for key, value in outcome.facts.items())
        bar = f" (bar: {outcome.bar})" if outcome.bar else ""
        print(f"{outcome.status:9} {name}: {facts}{bar}", flush=True)
        if out is not None:
            out.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    return found


def main() -> int:
    """Run the checks; 1 if one of them failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda:0", help="cpu tries DALI's CPU operators instead")
    parser.add_argument("--only", action="append", choices=CHECKS, help="may be given repeatedly")
    parser.add_argument("--out", type=Path, default=None, help="also write the results here")
    parser.add_argument("--check", choices=CHECKS, default=None, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.check is not None:
        outcome = CHECKS[arguments.check](arguments.device)
        print(_MARK + json.dumps(asdict(outcome)))
        return 0
    found = results(arguments.only or list(CHECKS), arguments.device, arguments.out)
    return int(any(one["status"] == "fail" for one in found["checks"].values()))


if __name__ == "__main__":
    sys.exit(main())
