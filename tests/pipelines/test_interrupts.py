"""Ctrl-C and close() at any moment: nothing hangs, nothing is left, the loader can go on."""

import json
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

import fmrgb_stream as fs
from fmrgb_stream.errors import LoaderClosed
from fmrgb_stream.pipelines.cpu.pipeline import CpuPipeline
from fmrgb_stream.pipelines.quarantine import Quarantine
from fmrgb_stream.sample import ClipTask
from fmrgb_stream.shards import Manifest, ShardReader
from fmrgb_stream.storage import Store
from tests.support.datasets import pack_numbered
from tests.support.processes import are_gone, crew_of
from tests.support.sources import SlowSource

NUM_CLIPS = 7
CLIP = fs.ClipConfig(num_frames=2, frame_stride=1, size=(16, 16), channels="rgb")


@pytest.fixture(scope="session")
def root(tmp_path_factory):
    return pack_numbered(tmp_path_factory.mktemp("interrupts"), num_clips=NUM_CLIPS)


@pytest.mark.parametrize(
    ("worker_kind", "seconds"), [("process", 0.0), ("process", 0.13), ("thread", 0.05)]
)
def test_ctrl_c_stops_an_epoch_and_the_loader_can_go_on(root, pytestconfig, worker_kind, seconds):
    child = subprocess.Popen(
        [sys.executable, "-m", "tests.support.interrupted", str(root), worker_kind],
        cwd=pytestconfig.rootpath,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    with child:
        assert child.stdout.readline() == "ready\n"
        time.sleep(seconds)
        pids = list(crew_of(child.pid))
        # As a terminal does: to every process of the group.
        os.killpg(child.pid, signal.SIGINT)
        output, errors = child.communicate(timeout=30)
    assert child.returncode == 0, errors
    found = json.loads(output)
    assert sorted(found["ids"]) == list(range(NUM_CLIPS))
    assert found["threads"] == []
    assert found["processes_are_gone"]
    assert are_gone(pids)


@pytest.mark.parametrize("worker_kind", ["process", "thread"])
def test_close_from_another_thread_ends_a_wait_for_a_slow_storage(root, worker_kind):
    store = Store(root)
    reader = ShardReader(store, Manifest.load(store).split("train"))
    pipeline = CpuPipeline(
        SlowSource(reader, clip=CLIP, seed=0),
        clip=CLIP,
        num_workers=1,
        prefetch_batches=4,
        worker_kind=worker_kind,
        quarantine=Quarantine("raise", max_bad_fraction=0, num_samples=NUM_CLIPS),
    )
    task = ClipTask(sample_id=1, window_index=0, epoch=0, is_padding=False)
    batches = pipeline.batches(iter([[task] * 20] * 9))
    closer = threading.Timer(0.5, pipeline.close)
    closer.start()
    began = time.monotonic()
    with pytest.raises(LoaderClosed):
        next(batches)
    closer.join()
    # Less than the batch would have taken, and one clip at most is waited for.
    assert time.monotonic() - began < 3.5
    assert are_gone(crew_of(os.getpid()))
