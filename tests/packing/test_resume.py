"""Stopped at any point and run again, packing ends in the same bytes."""

import fcntl
import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest

from fmrgb_stream.config import PackConfig
from fmrgb_stream.errors import PackError
from fmrgb_stream.packing import pack, verify
from fmrgb_stream.packing.progress import SilentProgress
from tests.support.media import Picture, Sound, four_bad_files, numbered_frames, tone, write_media
from tests.support.packed import all_bytes, packed_samples

CONFIG = PackConfig(num_workers=1, samples_per_shard=2, segment_seconds=0.5)
FLAGS = ["--samples-per-shard", "2", "--segment-seconds", "0.5"]
NUM_FILES = 8


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    folder = tmp_path_factory.mktemp("source")
    for number in range(NUM_FILES):
        write_media(
            folder / f"{'ab'[number % 2]}" / f"clip {number}.mp4",
            picture=Picture(numbered_frames(40, first=40 * number)),
            sound=Sound(tone(300 + 50 * number, 1.3)),
        )
    four_bad_files(folder / "a")
    return folder


@pytest.fixture(scope="module")
def reference(source, tmp_path_factory):
    """What an undisturbed run in this one process writes."""
    folder = tmp_path_factory.mktemp("reference") / "out"
    pack(source, folder, config=CONFIG)
    return all_bytes(folder)


def start(source, destination, *flags):
    command = [sys.executable, "-m", "fmrgb_stream.cli.main", "pack", str(source)]
    return subprocess.Popen(
        [*command, str(destination), *FLAGS, "--json", *flags],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def wait_until(condition, process, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, f"ended early: {process.communicate()}"
        assert time.monotonic() < deadline
        time.sleep(0.002)


def wait_for_group_to_end(group):
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return
        time.sleep(0.02)
    pytest.fail("packing processes outlive their parent")


def found(folder, pattern):
    try:
        return list(folder.glob(pattern))
    except FileNotFoundError:  # a folder went while it was looked into
        return []


def num_finished(folder):
    return len(found(folder, "*/shard-*.parquet"))


POINTS = {
    "while probing": lambda out: (out / ".pack" / "probes.jsonl").is_file(),
    "in a shard": lambda out: any(found(out, "*/*.tar.partial")),
    "after the third shard": lambda out: num_finished(out) >= 3,
    "before the statistics": lambda out: (out / "manifest.json").is_file(),
}


def test_kill_at_any_point_then_rerun_gives_the_same_bytes(source, reference, tmp_path):
    out = tmp_path / "out"
    for number, reached in enumerate(POINTS.values()):
        process = start(source, out, "--num-workers", str(1 + number % 2))
        wait_until(lambda reached=reached: reached(out), process)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        wait_for_group_to_end(process.pid)
    kept = num_finished(out)
    process = start(source, out, "--num-workers", "2")
    stdout, stderr = process.communicate(timeout=90)
    assert process.returncode == 1, stderr
    report = json.loads(stdout)
    assert kept > 0
    assert report["num_resumed"] == report["num_packed"] == NUM_FILES * 3
    assert report["num_rejected"] == 4
    assert all_bytes(out) == reference


def test_two_processes_write_what_one_writes(source, reference, tmp_path):
    pack(source, tmp_path / "out", config=replace(CONFIG, num_workers=2))
    assert all_bytes(tmp_path / "out") == reference


def test_copy_of_the_source_elsewhere_gives_the_same_bytes(source, reference, tmp_path):
    shutil.copytree(source, tmp_path / "in", copy_function=shutil.copyfile)
    pack(tmp_path / "in", tmp_path / "out", config=CONFIG)
    assert all_bytes(tmp_path / "out") == reference


def test_ctrl_c_stops_soon_and_a_rerun_goes_on(source, reference, tmp_path):
    for attempt in range(5):
        out = tmp_path / f"out-{attempt}"
        process = start(source, out, "--num-workers", "2")
        wait_until(lambda out=out: num_finished(out) >= 1, process)
        os.killpg(process.pid, signal.SIGINT)
        _, stderr = process.communicate(timeout=20)
        if process.returncode != 1:
            break  # else it had finished, with its rejects, before the signal came
    assert process.returncode == 130
    assert b"Traceback" not in stderr
    assert b"run the same command again" in stderr
    wait_for_group_to_end(process.pid)
    report = pack(source, out, config=CONFIG)
    assert report.num_resumed > 0
    assert all_bytes(out) == reference


def test_damaged_shard_is_packed_again(source, reference, tmp_path):
    out = tmp_path / "out"
    pack(source, out, config=CONFIG)
    shard = out / "train" / "shard-000001.tar"
    content = bytearray(shard.read_bytes())
    content[700] ^= 1
    shard.write_bytes(content)
    (out / "train" / "shard-000000.parquet").write_bytes(b"torn")
    report = pack(source, out, config=CONFIG)
    assert report.num_packed - report.num_resumed == 4
    assert all_bytes(out) == reference


def test_leftovers_of_stopped_runs_go(source, reference, tmp_path):
    out = tmp_path / "out"
    pack(source, out, config=CONFIG)
    (out / "train" / "shard-000000.tar.partial").write_bytes(b"old")
    (out / "train" / "shard-000001.parquet.partial").write_bytes(b"old")
    pack(source, out, config=CONFIG)
    assert all_bytes(out) == reference


class StopAtFirstSample(SilentProgress):
    """Ctrl-C as soon as packing has begun."""

    def start(self, stage, **_):
        if stage == "pack":
            raise KeyboardInterrupt


def test_overwrite_removes_the_shards_that_it_replaces_even_after_a_stop(
    source, reference, tmp_path
):
    out = tmp_path / "out"
    pack(source, out, config=replace(CONFIG, samples_per_shard=1))
    with pytest.raises(KeyboardInterrupt):
        pack(
            source,
            out,
            config=replace(CONFIG, crf=30),
            overwrite=True,
            progress=StopAtFirstSample(),
        )
    pack(source, out, config=CONFIG, overwrite=True)
    assert all_bytes(out) == reference


@pytest.mark.parametrize("held", [False, True])
def test_files_of_others_that_look_like_shards_stay(source, tmp_path, held):
    out = tmp_path / "out"
    if held:
        pack(source, out, config=replace(CONFIG, crf=30))
    others = [out / "mine" / "shard-000000.tar", out / "train" / "shard-000900.tar.partial"]
    for path in others:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"all my work")
    pack(source, out, config=CONFIG, overwrite=True)
    assert [path.read_bytes() for path in others] == [b"all my work"] * 2


def test_manifest_that_names_files_elsewhere_removes_none(source, tmp_path):
    out, other = tmp_path / "out", tmp_path / "shard-000000.tar"
    other.write_bytes(b"all my work")
    out.mkdir()
    split = {"train": {"shards": [{"path": "../shard-000000.tar"}]}}
    (out / "manifest.json").write_text(json.dumps({"pack_config": {}, "splits": split}))
    pack(source, out, config=CONFIG, overwrite=True)
    assert other.read_bytes() == b"all my work"


def test_other_settings_are_refused_by_name(source, tmp_path):
    out = tmp_path / "out"
    pack(source, out, config=CONFIG)
    with pytest.raises(PackError, match=r"crf was 23, now 30.*--overwrite"):
        pack(source, out, config=replace(CONFIG, crf=30))
    pack(source, out, config=replace(CONFIG, crf=30), overwrite=True)
    assert verify(out, num_workers=1).is_good


def test_other_input_is_refused_and_overwritten_on_demand(source, tmp_path):
    out, inputs = tmp_path / "out", tmp_path / "in"
    shutil.copytree(source, inputs)
    pack(inputs, out, config=CONFIG)
    (inputs / "b" / "clip 1.mp4").unlink()
    with pytest.raises(PackError, match=r"num_inputs was 8, now 7"):
        pack(inputs, out, config=CONFIG)
    pack(inputs, out, config=CONFIG, overwrite=True)
    assert len(packed_samples(out)) == 21
    assert verify(out, num_workers=1).findings == ()


def test_folder_of_other_things_is_refused_and_left_alone(source, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "thesis.txt").write_text("all my work")
    with pytest.raises(PackError, match=r"not empty \(thesis.txt"):
        pack(source, out, config=CONFIG)
    pack(source, out, config=CONFIG, overwrite=True)
    assert (out / "thesis.txt").read_text() == "all my work"


def test_two_runs_into_one_folder_do_not_meet(source, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    holder = os.open(out, os.O_RDONLY)
    try:
        fcntl.flock(holder, fcntl.LOCK_EX)
        with pytest.raises(PackError, match="another process is packing"):
            pack(source, out, config=CONFIG)
    finally:
        os.close(holder)


@pytest.mark.parametrize("place", [".", "out", "..", "a/deep"])
def test_destination_in_or_around_the_source_is_refused(source, place):
    before = all_bytes(source)
    with pytest.raises(PackError, match="lie in each other"):
        pack(source, source / place, config=CONFIG)
    assert all_bytes(source) == before


class KillWorkers(SilentProgress):
    """Kills the packing processes when the third sample has arrived: the first shard is finished.

    Of 24 samples at most 8 are ahead by then, so that packing cannot end without the processes.
    """

    def __init__(self):
        self.num_packed = 0

    def advance(self, stage, count=1):
        self.num_packed += count if stage == "pack" else 0
        if self.num_packed == 3:
            for child in multiprocessing.active_children():
                child.kill()
                child.join()


def test_process_that_dies_is_named_and_finished_shards_stay(source, reference, tmp_path):
    out = tmp_path / "out"
    with pytest.raises(
        PackError, match=r"a packing process died .* at one of: [ab]/clip \d\.mp4, "
    ):
        pack(source, out, config=replace(CONFIG, num_workers=2), progress=KillWorkers())
    assert num_finished(out) >= 1
    assert pack(source, out, config=CONFIG).num_resumed >= 2
    assert all_bytes(out) == reference
