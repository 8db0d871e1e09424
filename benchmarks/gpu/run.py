"""Every check in a process of its own, so that a crash or a hang is a result as well.

Run on a machine with a GPU: python -m benchmarks.gpu.run --out results.json
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import torch

from benchmarks.gpu import delivery, engine, pictures, speed
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
}
TIMEOUT_SECONDS: Final = 300
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
        query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
        done = subprocess.run(query, capture_output=True, text=True, check=False)
        facts["driver"] = done.stdout.strip().partition("\n")[0]
    return facts


def results(names: list[str], device: str) -> dict[str, Any]:
    """All checks, told as they end."""
    problem = why_not(device)
    outcomes: dict[str, Outcome] = {}
    for name in names:
        if problem:
            outcomes[name] = Outcome(status="not run", facts={"reason": problem})
        else:
            outcomes[name] = run_check(name, device)
        facts = ", ".join(f"{key}: {value}" for key, value in outcomes[name].facts.items())
        print(f"{outcomes[name].status:9} {name}: {facts}", flush=True)
    return {
        "machine": environment() if problem else machine(device),
        "device": device,
        "checks": {
            name: {"status": one.status, "facts": one.facts} for name, one in outcomes.items()
        },
    }


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
        print(_MARK + json.dumps({"status": outcome.status, "facts": outcome.facts}))
        return 0
    found = results(arguments.only or list(CHECKS), arguments.device)
    if arguments.out is not None:
        arguments.out.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    return int(any(one["status"] == "fail" for one in found["checks"].values()))


if __name__ == "__main__":
    sys.exit(main())
