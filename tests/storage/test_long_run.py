"""Fifty epochs over a server that fails all the time: nothing grows."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.growth import ProcessLook, growths
from tests.support.datasets import pack_numbered
from tests.support.origin import Origin
from tests.support.packed import all_bytes
from tests.support.streaming import NUM_CLIPS

PROJECT = Path(__file__).parents[2]
NUM_EPOCHS = 50
FAULTS = ("503", "reset-mid", "429", "short", "reset", "500")
QUIET = ("",) * 4
CONSUMER = """
import dataclasses, json, sys
import fmrgb_stream as fs
from benchmarks.growth import look
from tests.support.consume import CLIP
from tests.support.streaming import ids_of

looks, counts = [], []
with fs.build_loader(sys.argv[1], batch_size=2, tail="pad", clip=CLIP, num_workers=1) as loader:
    for _ in range(int(sys.argv[2])):
        counts.append(len(set(ids_of(loader))))
        looks.append(dataclasses.asdict(look()))
    reads = loader.stats()["reads"]
print(json.dumps([looks, counts, reads]))
"""


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_fifty_epochs_with_faults_take_no_more_memory_than_ten(tmp_path):
    dataset = all_bytes(pack_numbered(tmp_path, num_clips=NUM_CLIPS))
    with Origin(dataset) as origin:
        for name in dataset:
            if name.endswith(".tar"):
                origin.script(name, *[fault for f in FAULTS for fault in (f, *QUIET)] * 100)
        done = subprocess.run(
            [sys.executable, "-c", CONSUMER, origin.url(), str(NUM_EPOCHS)],
            cwd=PROJECT,
            capture_output=True,
            text=True,
            timeout=500,
        )
        num_gets = len(origin.gets())
    assert done.returncode == 0, done.stderr
    looks, counts, reads = json.loads(done.stdout)
    assert counts == [NUM_CLIPS] * NUM_EPOCHS
    assert num_gets > 1.1 * NUM_CLIPS * NUM_EPOCHS
    assert reads["num_requests"] >= NUM_CLIPS * NUM_EPOCHS
    for growth in growths(list(range(NUM_EPOCHS)), [ProcessLook(**one) for one in looks]):
        allowed = 0.02 * growth.level if growth.name.endswith("_mb") else growth.limit
        assert growth.total <= allowed, growth
