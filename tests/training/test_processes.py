"""What only several processes, or a real kill, can show."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from fmrgb_stream.config import plain_config
from tests.support.runs import finished, launch, step_losses, tiny_config

CHECKOUT = Path(__file__).resolve().parents[2]
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def two(classes_root, tmp_path_factory):
    """What each of two gloo processes found; see two_processes.py."""
    out = tmp_path_factory.mktemp("two")
    subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2",
         "--standalone", "-m", "tests.training.two_processes", classes_root, out],
        check=True,
        cwd=CHECKOUT,
        timeout=240,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(CHECKOUT)},
    )  # fmt: skip
    return [json.loads((out / f"rank-{rank}.json").read_text()) for rank in range(2)]


def test_prepare_does_not_shard_a_loader_again(two):
    keys = [key for found in two for key in found["keys"]]

    # 24 clips, global batches of ten, the tail dropped.
    assert [found["num_steps"] for found in two] == [2, 2]
    assert len(keys) == len(set(keys)) == 20


def test_processes_with_different_numbers_of_batches_evaluate_all_clips(two):
    assert [found["num_evaluated"] for found in two] == [12, 12]


def test_uneven_training_is_refused_in_every_process(two):
    assert all("[2, 3] training steps" in found["error"] for found in two)


def write_config(path, config):
    path.write_text(yaml.safe_dump(plain_config(config)))
    return path


def test_two_processes_train_as_one_with_the_same_global_batch(classes_root, tmp_path):
    # No dropout: its places are drawn by each process for its own clips.
    model = {"name": "frame_pool/test_vit", "options": {}}
    config = tiny_config(classes_root, model=model, epochs=4, record={"keep_last": 1})
    path = write_config(tmp_path / "config.yaml", config)

    runs = [
        launch(
            ["train", "--config", path, "--out", tmp_path / str(processes)],
            num_processes=processes,
        )
        for processes in (1, 2)
    ]
    for run in runs:
        finished(run)

    one, both = (step_losses(tmp_path / name) for name in ("1", "2"))
    assert len(one) == 24
    assert both[:20] == pytest.approx(one[:20], abs=1e-4)


@pytest.mark.parametrize("num_processes", [1, 2])
def test_a_run_killed_at_a_random_step_goes_on_with_equal_losses(
    classes_root, tmp_path, num_processes
):
    config = tiny_config(classes_root, epochs=8, record={"checkpoint_every_steps": 5})
    path = write_config(tmp_path / "config.yaml", config)
    words = ["train", "--config", path, "--out"]
    finished(launch([*words, tmp_path / "whole"], num_processes=num_processes))
    killed_at = random.randrange(1, 45)
    run = launch([*words, tmp_path / "run"], num_processes=num_processes, start_new_session=True)
    try:
        wait_for_steps(tmp_path / "run", killed_at, run)
    finally:
        os.killpg(run.pid, signal.SIGKILL)
        run.communicate()

    finished(launch(["train", "--resume", tmp_path / "run"], num_processes=num_processes))

    assert step_losses(tmp_path / "run") == step_losses(tmp_path / "whole"), killed_at


def wait_for_steps(run, steps, process):
    """Until a run has written so many losses."""
    metrics = run / "metrics.jsonl"
    end = time.monotonic() + 200
    while not metrics.is_file() or metrics.read_text().count('"event": "step"') < steps:
        assert process.poll() is None, "the run ended before it could be killed"
        assert time.monotonic() < end
        time.sleep(0.002)


def test_the_demo_reaches_its_accuracy_in_two_processes(tmp_path):
    out = finished(
        launch(["train", "--config", "demo", "--out", tmp_path, "--json"], num_processes=2),
        timeout_seconds=500,
    )

    result = json.loads(out)
    assert result["test"]["score"] >= 0.95
    assert [profile["rank"] for profile in result["history"][-1]["profiles"]] == [0, 1]
