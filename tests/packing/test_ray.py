"""A Ray cluster of two workers writes what this machine alone writes, and survives what it may meet."""

import importlib.util
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from fmrgb_stream.config import PackConfig
from fmrgb_stream.packing import pack
from tests.support.media import Picture, Sound, four_bad_files, numbered_frames, tone, write_media
from tests.support.packed import all_bytes

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("ray") is None,
        reason="Ray is not installed: packing on a cluster stays untested. "
        "pip install 'fmrgb_stream[ray]'",
    ),
]

CONFIG = PackConfig(num_workers=1, samples_per_shard=2, segment_seconds=0.5)
FLAGS = ["--samples-per-shard", "2", "--segment-seconds", "0.5", "--executor", "ray", "--json"]
NUM_FILES = 16
NUM_SAMPLES = 3 * NUM_FILES
# Without a token file in the home folder; the cluster listens on this machine alone.
ENVIRONMENT = {**os.environ, "RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0"}
ENVIRONMENT.pop("RAY_ADDRESS", None)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    folder = tmp_path_factory.mktemp("source")
    for number in range(NUM_FILES):
        write_media(
            folder / f"{'ab'[number % 2]}" / f"clip {number}.mp4",
            picture=Picture(numbered_frames(40, first=40 * number)),
            sound=Sound(tone(300 + 20 * number, 1.3)),
        )
    four_bad_files(folder / "a")
    return folder


@pytest.fixture(scope="module")
def reference(source, tmp_path_factory):
    """What this process alone writes."""
    folder = tmp_path_factory.mktemp("reference") / "out"
    pack(source, folder, config=CONFIG)
    return all_bytes(folder)


@pytest.fixture(scope="module")
def cluster():
    """Address of a cluster of two workers on this machine; it is gone afterwards."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    # A short name: sockets below it must have paths of less than 108 bytes.
    folder = tempfile.mkdtemp(prefix="ray-", dir="/tmp")
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block"]
    command += ["--node-ip-address", "127.0.0.1", "--port", address.partition(":")[2]]
    command += ["--num-cpus", "2", "--include-dashboard", "false", "--temp-dir", folder]
    head = subprocess.Popen(
        command,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        wait_until(lambda: has_raylet(folder), head, seconds=90)
        yield address
    finally:
        head.terminate()
        head.communicate(timeout=60)
        left = wait_for_none(lambda: pids_naming(folder), seconds=30)
        for pid in left:
            os.kill(pid, signal.SIGKILL)
        shutil.rmtree(folder, ignore_errors=True)
        assert not left, "the cluster left processes behind"


def pids_naming(text):
    """Processes with this text in their command line."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_bytes()
        except OSError:
            continue
        if text.encode() in command:
            found.append(int(folder.name))
    return found


def has_raylet(folder):
    return any(Path(folder).glob("session_*/sockets/raylet*"))


def wait_for_none(look, *, seconds):
    deadline = time.monotonic() + seconds
    while (found := look()) and time.monotonic() < deadline:
        time.sleep(0.1)
    return found


def wait_until(condition, process, *, seconds=90):
    deadline = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, f"ended early: {process.communicate()}"
        assert time.monotonic() < deadline
        time.sleep(0.005)


def start(source, destination, address):
    command = [sys.executable, "-m", "fmrgb_stream.cli.main", "pack", str(source)]
    command += [str(destination), *FLAGS, "--address", address]
    return subprocess.Popen(
        command, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def finish(process):
    stdout, stderr = process.communicate(timeout=100)
    assert process.returncode == 1, stderr  # the four bad files
    return json.loads(stdout)


def num_finished(folder):
    try:
        return len(list(folder.glob("*/shard-*.parquet")))
    except FileNotFoundError:
        return 0


def ray_workers():
    """Ray names a process after the function it is at."""
    return pids_naming("ray::_run")


def test_ray_writes_what_one_process_writes(source, reference, cluster, tmp_path):
    report = finish(start(source, tmp_path / "out", cluster))
    assert report["num_packed"] == NUM_SAMPLES
    assert report["num_rejected"] == 4
    assert all_bytes(tmp_path / "out") == reference


def test_killed_driver_is_continued_by_the_same_command(source, reference, cluster, tmp_path):
    out = tmp_path / "out"
    driver = start(source, out, cluster)
    wait_until(lambda: num_finished(out) >= 3, driver)
    driver.send_signal(signal.SIGKILL)
    driver.communicate()
    kept = num_finished(out)
    assert not (out / "manifest.json").exists()
    report = finish(start(source, out, cluster))
    assert report["num_resumed"] >= 2 * (kept - 1) > 0
    assert report["num_packed"] == NUM_SAMPLES
    assert all_bytes(out) == reference


def test_killed_worker_changes_nothing(source, reference, cluster, tmp_path):
    out = tmp_path / "out"
    driver = start(source, out, cluster)
    workers = []

    def is_packing():
        workers[:] = ray_workers()
        return num_finished(out) >= 2 and workers

    wait_until(is_packing, driver)
    os.kill(workers[0], signal.SIGKILL)
    report = finish(driver)
    assert report["num_packed"] == NUM_SAMPLES
    assert all_bytes(out) == reference
