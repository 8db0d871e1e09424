"""The same promises on a GPU: decoded by NVDEC, resized, estimated and composed there."""

import os

import numpy as np
import pytest
import torch

import fmrgb_stream as fs
from tests.support.agree import assert_pipelines_agree
from tests.support.datasets import FPS, first_number, pack_numbered
from tests.support.media import read_numbers

if os.environ.get("FMRGB_REQUIRE_GPU") != "1":  # else its absence has to show
    pytest.importorskip("nvidia.dali")

pytestmark = [pytest.mark.gpu, pytest.mark.timeout(120)]
NUM_CLIPS = 13
GPU = {"device": "cuda:0", "backend": "dali", "num_workers": 4}
CLIP = fs.ClipConfig(
    num_frames=4, frame_stride=2, size=(64, 96), flow=fs.FlowConfig(estimator="lucas_kanade")
)


@pytest.fixture(scope="module", params=["h264", "vp9"])
def root(tmp_path_factory, request):
    folder = tmp_path_factory.mktemp(request.param)
    return pack_numbered(folder, num_clips=NUM_CLIPS, codec=request.param)


@pytest.mark.parametrize("decode", ["nvdec", "host", "hybrid", "auto"])
def test_frames_and_labels_are_those_of_the_key(root, decode):
    clip = fs.ClipConfig(num_frames=4, frame_stride=2, size=(64, 96), channels="rgb")
    with fs.build_loader(root, batch_size=3, clip=clip, tail="pad", decode=decode, **GPU) as loader:
        for batch in loader:
            assert batch.clip.device == torch.device("cuda:0")
            frames_BTHWC = batch.clip.permute(0, 2, 3, 4, 1).cpu().numpy()
            for place, key in enumerate(batch.keys):
                first = first_number(int(key.split("-")[1][:3]))
                times = batch.times_seconds[place].cpu().numpy()
                indices = np.rint(times * float(FPS)).astype(int)
                assert read_numbers(frames_BTHWC[place]) == [first + i for i in indices], key


@pytest.mark.parametrize("decode", ["nvdec", "host", "hybrid"])
def test_clips_are_the_cpu_pipelines(root, decode):
    assert_pipelines_agree(root, CLIP, decode=decode, device="cuda:0")


@pytest.mark.parametrize("prefetch", [1, 2, 4])
def test_a_resumed_loader_goes_on_where_it_stood(root, prefetch):
    options = {"batch_size": 2, "clip": CLIP, "prefetch_batches": prefetch, "decode": "nvdec"} | GPU
    with fs.build_loader(root, **options) as loader:
        whole = [batch.sample_ids.tolist() for batch in loader]
    with fs.build_loader(root, **options) as loader:
        batches = iter(loader)
        next(batches), next(batches)
        state = loader.state_dict()
    with fs.build_loader(root, **options) as resumed:
        resumed.load_state_dict(state)
        assert [batch.sample_ids.tolist() for batch in resumed] == whole[2:]


def test_a_batch_that_is_held_never_changes(root):
    with fs.build_loader(root, batch_size=2, clip=CLIP, decode="nvdec", **GPU) as loader:
        held = [(batch.clip, batch.clip.clone()) for batch in loader]
    assert all(torch.equal(clip, copy) for clip, copy in held)


def test_motion_is_estimated_by_the_engine_or_the_log_says_why_not(root, caplog):
    caplog.set_level("INFO")
    clip = fs.ClipConfig(num_frames=4, frame_stride=2, size=(112, 112))
    with fs.build_loader(root, batch_size=2, clip=clip, decode="nvdec", **GPU) as loader:
        batch = next(iter(loader))
    assert batch.flow_estimator == "nvof" or "flow is estimated by lucas_kanade" in caplog.text
