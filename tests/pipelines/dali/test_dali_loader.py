"""The loader with DALI on packed VP9 shards: the same promises as with the CPU pipeline."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import torch

import fmrgb_stream as fs
from fmrgb_stream.errors import LoaderClosed
from fmrgb_stream.shards import Manifest, ShardReader
from fmrgb_stream.storage import Store
from tests.support.agree import DALI
from tests.support.consume import CLIP, build
from tests.support.datasets import FPS, first_number, pack_numbered
from tests.support.media import read_numbers

pytest.importorskip("nvidia.dali")

pytestmark = pytest.mark.timeout(100)
NUM_CLIPS = 13


@pytest.fixture(scope="session")
def root(tmp_path_factory):
    return pack_numbered(tmp_path_factory.mktemp("vp9"), num_clips=NUM_CLIPS, codec="vp9")


def ids_of(batches):
    return [sample for batch in batches for sample in batch.sample_ids.tolist()]


def numbers_of(key):
    return first_number(int(key.split("-")[1][:3]))


def digest(batches):
    return [
        (batch.clip.numpy().tobytes(), batch.keys, batch.times_seconds.numpy().tobytes())
        for batch in batches
    ]


def test_clips_show_the_frames_and_labels_of_their_keys(root):
    clip = fs.ClipConfig(num_frames=4, frame_stride=2, size=(64, 96), channels="rgb")
    with fs.build_loader(root, batch_size=3, clip=clip, tail="pad", **DALI) as loader:
        assert loader.stats()["backend"] == "dali"
        seen = []
        for batch in loader:
            frames_BTHWC = batch.clip.permute(0, 2, 3, 4, 1).numpy()
            for place, key in enumerate(batch.keys):
                indices = np.rint(batch.times_seconds[place].numpy() * float(FPS)).astype(int)
                expected = [numbers_of(key) + index for index in indices]
                assert read_numbers(frames_BTHWC[place]) == expected, key
                seen.append(key)
        assert len(set(seen)) == NUM_CLIPS
    assert loader.stats()["num_clips"] == len(seen)


@pytest.mark.parametrize("prefetch", [1, 2, 4])
def test_two_epochs_have_every_sample_once_each(root, prefetch):
    with fs.build_loader(
        root, batch_size=4, clip=CLIP, tail="pad", prefetch_batches=prefetch, **DALI
    ) as loader:
        for _ in range(2):
            batches = list(loader)
            assert len(batches) == len(loader)
            assert sorted(ids_of(batches)[:NUM_CLIPS]) == list(range(NUM_CLIPS))


def test_threads_change_nothing(root):
    with build(root, **DALI) as one, build(root, **DALI | {"num_workers": 3}) as two:
        assert digest(one) == digest(two)


@pytest.mark.parametrize("prefetch", [1, 2, 4])
@pytest.mark.parametrize("stop", [0, 1, 4])
def test_a_resumed_loader_goes_on_where_it_stood(root, prefetch, stop):
    options = DALI | {"prefetch_batches": prefetch}
    with build(root, **options) as loader:
        whole = digest(loader)
    with build(root, **options) as loader:
        batches = iter(loader)
        for _ in range(stop):
            next(batches)
        state = json.loads(json.dumps(loader.state_dict()))
    with build(root, **options) as resumed:
        resumed.load_state_dict(state)
        assert digest(resumed) == whole[stop:]


def test_a_state_moves_between_the_pipelines(root):
    with build(root) as loader:
        whole = ids_of(loader)
    with build(root) as loader:
        done = next(iter(loader)).sample_ids.tolist()
        state = loader.state_dict()
    with build(root, **DALI) as other:
        other.load_state_dict(state)
        assert done + ids_of(other) == whole


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("prefetch", [1, 2, 4])
def test_kill_minus_nine_at_any_point_and_resume_gives_the_rest_once(root, tmp_path, prefetch):
    with build(root) as loader:
        whole = ids_of(loader)
    state_file = tmp_path / "state.json"
    options = json.dumps(DALI | {"prefetch_batches": prefetch})
    moments, kills = random.Random(prefetch), 0
    for _ in range(20):
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.consume", str(root), str(state_file), options],
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(moments.randint(1, 3)):
            process.stdout.readline()
        time.sleep(moments.uniform(0, 0.06))
        if process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)
            kills += 1
        process.wait(timeout=60)
        process.stdout.close()
        if process.returncode == 0:
            break
    assert process.returncode == 0, "the epoch never ended"
    assert kills >= 1, "no kill met a running process"
    assert json.loads(state_file.read_text())["ids"] == whole


@pytest.fixture
def damaged(root, tmp_path):
    """A copy whose samples 2, 3 and 9 have zeroed packets, from which no checksum protects."""
    copy = shutil.copytree(root, tmp_path / "damaged")
    split = Manifest.load(Store(copy)).split("train")
    reader = ShardReader(Store(copy), split)
    for sample_id in (2, 3, 9):
        shard = int(
            np.searchsorted(np.cumsum([s.num_samples for s in split.shards]), sample_id, "right")
        )
        tar = copy / split.shards[shard].path
        content = bytearray(tar.read_bytes())
        info = reader.info(sample_id)
        start = info.member("mp4").offset
        for offset, size in zip(info.packets.offsets, info.packets.sizes, strict=True):
            content[start + offset : start + offset + size] = bytes(size)
        tar.write_bytes(content)
    return copy


@pytest.mark.parametrize("verify", [True, False])
def test_bad_samples_are_substituted_as_by_the_cpu_pipeline(damaged, verify):
    options = {"batch_size": 4, "clip": CLIP, "shuffle": False, "verify_checksums": verify}
    with (
        fs.build_loader(damaged, **options) as cpu,
        fs.build_loader(damaged, **options | DALI) as dali,
    ):
        expected, got = list(cpu), list(dali)
        assert len(got) == len(expected) == 4
        for one, other in zip(got, expected, strict=True):
            assert one.keys == other.keys
            assert torch.equal(one.sample_ids, other.sample_ids)
            assert torch.equal(one.is_substitute, other.is_substitute)
            assert torch.equal(one.is_padding, other.is_padding)
        named = [{bad["key"] for bad in loader.stats()["quarantined"]} for loader in (cpu, dali)]
    assert named[0] == named[1]
    assert len(named[0]) == 3


def test_breaking_off_and_closing_leave_no_thread(root):
    loader = build(root, **DALI)
    batches = iter(loader)
    next(batches)
    loader.close()
    with pytest.raises(LoaderClosed):
        next(batches)
    assert not [t for t in threading.enumerate() if t.name.startswith("fmrgb-")]


def test_a_batch_that_is_held_never_changes(root):
    with build(root, **DALI) as loader:
        held = list(loader)
        copies = [batch.clip.clone() for batch in held]
        loader.set_epoch(0)
        again = list(loader)
    for batch, copy, other in zip(held, copies, again, strict=True):
        assert torch.equal(batch.clip, copy)
        assert torch.equal(batch.clip, other.clip)


def test_clips_are_one_block_of_cpu_memory(root):
    with build(root, **DALI) as loader:
        batch = next(iter(loader))
        assert batch.clip.is_contiguous()
        assert batch.clip.device.type == "cpu"
