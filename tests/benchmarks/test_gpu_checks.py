"""The GPU checks run, judge and report; here on DALI's CPU operators, where there is DALI."""

import io
import json
import subprocess
import sys

import av
import numpy as np
import pytest

from benchmarks.gpu import run
from benchmarks.gpu.media import Video, encoded, numbers_in
from benchmarks.gpu.outcome import Outcome, essence, judged


def test_without_a_gpu_every_check_is_not_run_and_says_why(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(run, "has_dali", lambda: True)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr(sys, "argv", ["run", "--out", str(tmp_path / "results.json")])
    assert run.main() == 0
    found = json.loads((tmp_path / "results.json").read_text())
    assert list(found["checks"]) == list(run.CHECKS)
    assert {one["status"] for one in found["checks"].values()} == {"not run"}
    assert {one["facts"]["reason"] for one in found["checks"].values()} == {"no GPU"}
    assert "processor" in found["machine"]
    assert capsys.readouterr().out.count("not run") == len(run.CHECKS)


def test_without_dali_the_extra_is_named(monkeypatch):
    monkeypatch.setattr(run, "has_dali", lambda: False)
    assert "fmrgb_stream[dali-cu13]" in run.why_not("cuda:0")


def test_a_check_that_hangs_is_a_failure():
    outcome = run.run_check("G9 held batches", "cpu", timeout_seconds=0.01)
    assert outcome == Outcome(status="fail", facts={"error": "hung for 0.01 s"})


def test_a_check_that_crashes_is_a_failure(monkeypatch):
    done = subprocess.CompletedProcess([], -11, stdout="", stderr="Segmentation fault\n")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: done)
    outcome = run.run_check("G9 held batches", "cpu")
    assert outcome.status == "fail"
    assert outcome.facts["error"] == "ended with -11: Segmentation fault"


def test_a_failed_check_is_told_by_the_exit_code(monkeypatch):
    monkeypatch.setattr(run, "why_not", lambda _device: "")
    monkeypatch.setattr(run, "run_check", lambda *_: judged({"x": 1}, is_good=False))
    monkeypatch.setattr(sys, "argv", ["run", "--device", "cpu", "--only", "G8 sound"])
    assert run.main() == 1


def test_errors_are_told_without_where_they_came_from():
    error = RuntimeError("Critical error\nencountered:\n\nno such codec\nC++ context: [/x/y.cc:1]")
    assert essence(error) == "RuntimeError: no such codec"


def test_numbered_videos_can_be_read():

    with av.open(io.BytesIO(encoded(Video(num_frames=12, options=(("bf", "3"),))))) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert numbers_in(np.stack(frames)) == list(range(12))


def test_a_check_passes_on_the_cpu():
    pytest.importorskip("nvidia.dali")
    assert run.CHECKS["G9 held batches"]("cpu").status == "pass"


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["G1 frames", "G2 colours", "G4 seeking", "G6 bad samples", "G8 sound"]
)
def test_the_longer_checks_pass_on_the_cpu(name):
    pytest.importorskip("nvidia.dali")
    assert run.run_check(name, "cpu").status in ("pass", "measured")
