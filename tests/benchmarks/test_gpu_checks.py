"""The GPU checks run, judge and report; here on DALI's CPU operators, where there is DALI."""

import io
import json
import subprocess
import sys

import av
import numpy as np
import pytest

from benchmarks.gpu import run, speed
from benchmarks.gpu.media import Video, encoded, numbers_in
from benchmarks.gpu.outcome import Outcome, essence, judged, judged_on_gpu


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
    monkeypatch.setattr(run, "run_check", lambda *_: judged({"x": 1}, bar="x is 2", is_good=False))
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
@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", run.CHECKS)
def test_every_check_runs_to_its_end_on_the_cpu(name):
    """So that on a GPU nothing but the hardware's answer is new."""
    pytest.importorskip("nvidia.dali")
    outcome = run.run_check(name, "cpu")
    if name in ("G3 flow engine", "G11 second GPU"):
        assert outcome.status == "not run", outcome.facts
        return
    assert outcome.status in ("pass", "measured"), outcome.facts
    assert outcome.bar


def test_a_figure_is_judged_on_a_gpu_and_measured_on_the_cpu():
    told = {"bar": "fast", "is_good": False}
    assert judged_on_gpu({}, device="cuda:0", **told).status == "fail"
    assert judged_on_gpu({}, device="cpu", **told).status == "measured"
    assert judged_on_gpu({}, device="cpu", **told).bar == "fast"


@pytest.mark.parametrize(
    ("nvdec", "host", "hybrid", "is_met"),
    [(80, 50, 90, True), (79, 50, 90, False), (90, 50, 85, False), (80, 120, 110, False)],
)
def test_goals_of_speed(nvdec, host, hybrid, is_met):
    rates = {"nvdec": nvdec, "host": host, "hybrid": hybrid, "bare decoding": 100}
    assert speed.meets_goals(rates) is is_met


def test_the_results_are_written_without_nvidia_smi(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(run, "KERNEL_DRIVER", tmp_path / "none")
    monkeypatch.setattr(run, "why_not", lambda _device: "")
    monkeypatch.setattr("torch.cuda.get_device_name", lambda _device: "a GPU")
    monkeypatch.setattr(run, "run_check", lambda *_: judged({"x": 1}, bar="any", is_good=True))
    out = tmp_path / "results.json"
    run.results(["G8 sound"], "cuda:0", out)
    found = json.loads(out.read_text())
    assert found["machine"]["driver"].startswith("unknown: no nvidia-smi")
    assert found["checks"]["G8 sound"] == {"status": "pass", "bar": "any", "facts": {"x": 1}}


def test_the_kernel_tells_the_driver_where_nvidia_smi_is_missing(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(run, "KERNEL_DRIVER", tmp_path / "version")
    run.KERNEL_DRIVER.write_text("NVRM version: 580.1\nGCC\n")
    assert run.driver_version() == "NVRM version: 580.1"


def test_what_ran_is_kept_when_a_later_check_is_interrupted(tmp_path, monkeypatch):
    def check(name, _device):
        if name == "G9 held batches":
            raise KeyboardInterrupt
        return judged({}, bar="any", is_good=True)

    monkeypatch.setattr(run, "why_not", lambda _device: "")
    monkeypatch.setattr(run, "run_check", check)
    out = tmp_path / "results.json"
    with pytest.raises(KeyboardInterrupt):
        run.results(["G8 sound", "G9 held batches"], "cpu", out)
    assert list(json.loads(out.read_text())["checks"]) == ["G8 sound"]
