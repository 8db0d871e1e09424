"""A loader under Accelerate: prepare() does not shard it again, uneven data hangs no collective."""

import json
import os
import socket
import subprocess
import sys
from collections import Counter

import pytest

from tests.support.datasets import pack_numbered

NUM_CLIPS = 13
"""With two ranks of two clips: three whole steps and one clip that is left."""


@pytest.fixture(scope="session")
def root(tmp_path_factory):
    return pack_numbered(tmp_path_factory.mktemp("accelerated"), num_clips=NUM_CLIPS)


def run_ranks(root, tail, rootpath, *, world_size=2):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = os.environ | {
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(world_size),
        "LOCAL_WORLD_SIZE": str(world_size), "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true",
    }  # fmt: skip
    ranks = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.support.accelerated", str(root), tail],
            env=environment | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            cwd=rootpath,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(world_size)
    ]
    try:
        ended = [(*rank.communicate(timeout=200), rank.returncode) for rank in ranks]
    finally:
        for rank in ranks:
            rank.kill()
            rank.wait()
    for _, errors, code in ended:
        assert code == 0, errors
    return [json.loads(output.splitlines()[-1]) for output, _, _ in ended]


@pytest.mark.timeout(240)
@pytest.mark.parametrize("tail", ["pad", pytest.param("drop", marks=pytest.mark.slow)])
def test_two_processes_share_every_epoch_once_and_never_wait_for_each_other(
    root, tail, pytestconfig
):
    ranks = run_ranks(root, tail, pytestconfig.rootpath)
    assert all(rank["is_same"] for rank in ranks), "prepare() has wrapped the loader"
    assert {rank["steps"] for rank in ranks} == {8 if tail == "pad" else 6}
    counts = Counter(sample for rank in ranks for sample in rank["ids"])
    if tail == "pad":
        assert counts == Counter(dict.fromkeys(range(NUM_CLIPS), 2))
    else:
        assert sum(counts.values()) == 24
        assert max(counts.values()) <= 2
