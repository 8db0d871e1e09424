"""The same promises on a GPU: decoded by NVDEC, resized, estimated and composed there."""

import os
import subprocess
import sys

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


def test_what_dali_made_is_read_before_dali_makes_something_else_there(root):
    """The planes are made of DALI's own memory, on a stream that may lag far behind the host."""
    options = {"batch_size": 2, "clip": CLIP, "decode": "nvdec", "shuffle": False} | GPU
    with fs.build_loader(root, **options) as loader:
        expected = [batch.clip.cpu() for batch in loader]
        lagging = []
        batches = iter(loader)
        for _ in expected:
            torch.cuda._sleep(200_000_000)  # some 0.1 s, in which the graph goes on
            lagging.append(next(batches).clip)
        assert all(torch.equal(one.cpu(), two) for one, two in zip(lagging, expected, strict=True))


def test_dalis_outputs_are_left_as_they_are(root, monkeypatch):
    """Composing only reads DALI's buffers: the same output composed twice gives the same."""
    from fmrgb_stream.pipelines.dali.planes import BatchMaker

    make, seen = BatchMaker.make, []

    def twice(self, batch, outputs):
        before = {name: value.clone() for name, value in outputs.items()}
        made = make(self, batch, outputs)
        seen.append(all(torch.equal(outputs[name], before[name]) for name in before))
        return made

    monkeypatch.setattr(BatchMaker, "make", twice)
    with fs.build_loader(root, batch_size=2, clip=CLIP, decode="nvdec", **GPU) as loader:
        assert len(list(loader)) == len(seen)
    assert all(seen)


@pytest.mark.parametrize("estimator", ["auto", "lucas_kanade"])
@pytest.mark.parametrize("length_rule", ["repeat_last", "zoom", "subsample_pad"])
def test_a_batch_costs_no_host_round_trip(root, estimator, length_rule):
    clip = fs.ClipConfig(
        num_frames=4, size=(112, 112), flow=fs.FlowConfig(estimator=estimator),
        length_rule=length_rule, extras=("mel_image", "waveform"),
    )  # fmt: skip
    options = {"batch_size": 2, "clip": clip, "decode": "nvdec", "shuffle": False} | GPU
    with fs.build_loader(root, **options) as loader:
        list(loader)  # constants and graph are made
        torch.cuda.set_sync_debug_mode("error")
        try:
            num_batches = len(list(loader))
        finally:
            torch.cuda.set_sync_debug_mode("default")
    assert num_batches == len(loader)


def test_a_dead_context_is_told_and_no_sample_is_blamed(root):
    """In a process of its own, which has lost its GPU afterwards."""
    code = (
        "import sys, torch, fmrgb_stream as fs\n"
        "from fmrgb_stream.errors import DeviceError\n"
        "x = fs.build_loader(sys.argv[1], batch_size=2, device='cuda:0', backend='dali',"
        " decode='nvdec')\n"
        "batches = iter(x); next(batches)\n"
        "try:\n"
        "    torch.zeros(4, device='cuda')[torch.tensor([9], device='cuda')]\n"
        "    torch.cuda.synchronize()\n"
        "except RuntimeError: pass\n"
        "try:\n"
        "    list(batches); list(x)\n"
        "except (DeviceError, RuntimeError) as error: print(type(error).__name__)\n"
        "print(len(x.stats()['quarantined']))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(root)],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    told = done.stdout.split()
    assert told, done.stderr
    assert told[0] in ("DeviceError", "AcceleratorError", "RuntimeError"), done.stdout
    assert told[1] == "0", "no sample is in quarantine"


def test_motion_is_estimated_by_the_engine_or_the_log_says_why_not(root, caplog):
    caplog.set_level("INFO")
    clip = fs.ClipConfig(num_frames=4, frame_stride=2, size=(112, 112))
    with fs.build_loader(root, batch_size=2, clip=clip, decode="nvdec", **GPU) as loader:
        batch = next(iter(loader))
    assert batch.flow_estimator == "nvof" or "flow is estimated by lucas_kanade" in caplog.text
