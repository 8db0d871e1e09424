"""Two processes with a process group choose alike, whatever each of them measures or has."""

import json
import subprocess
import sys

import pytest

from tests.support.datasets import pack_numbered

pytest.importorskip("nvidia.dali")

RANK = """
import json, sys, time
import torch.distributed as dist
import fmrgb_stream as fs
from fmrgb_stream.distributed import WorldInfo
from fmrgb_stream.pipelines.dali import calibrate, probe

root, meeting, rank = sys.argv[1], sys.argv[2], int(sys.argv[3])
dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=2)
# What they would choose alone: rank 0 the graph and the engine, rank 1 the host and no engine.
calibrate.measure = lambda *_: calibrate.DecodeRates(graph=[300, 10][rank], host=[10, 100][rank])
probe.probe_engine = lambda *_: [(1, ""), (0, "no engine")][rank]
probe._why_no_engine = lambda *_: ""
world = WorldInfo(rank=rank, world_size=2)
clip = fs.ClipConfig(num_frames=3, size=(32, 48))
with fs.build_loader(root, batch_size=2, clip=clip, backend="dali", num_workers=1, world=world) as x:
    pipeline = x._pipeline
    batch = next(iter(x))
    print(json.dumps([pipeline.host_share, batch.flow_estimator]))
dist.destroy_process_group()
"""


@pytest.mark.slow
@pytest.mark.timeout(100)
def test_two_ranks_take_the_same_decoder_and_the_same_estimator(tmp_path):
    root = pack_numbered(tmp_path, num_clips=8, codec="vp9")
    command = [sys.executable, "-c", RANK, str(root), str(tmp_path / "meeting")]
    ranks = [
        subprocess.Popen([*command, str(rank)], stdout=subprocess.PIPE, text=True)
        for rank in range(2)
    ]
    found = [json.loads(rank.communicate(timeout=90)[0].splitlines()[-1]) for rank in ranks]
    # On average the graph makes 155 clips a second, the host 55.
    assert found == [[0.0, "lucas_kanade"]] * 2
