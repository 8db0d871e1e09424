"""The loader on real packed clips: exact-once, reproducible, resumable, honest about bad samples."""

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import torch

import fmrgb_stream as fs
from fmrgb_stream.errors import (
    ConfigError,
    LoaderClosed,
    ManifestError,
    ShardCorrupt,
    ShardNotFound,
    StateMismatch,
    TooManyBadSamples,
)
from fmrgb_stream.shards import Manifest, ShardReader
from fmrgb_stream.storage import Store
from tests.support.consume import CLIP, build
from tests.support.datasets import FPS, FRAMES_PER_CLIP, first_number, pack_numbered
from tests.support.media import read_numbers

NUM_CLIPS = 13


@pytest.fixture(scope="session")
def root(tmp_path_factory):
    return pack_numbered(tmp_path_factory.mktemp("numbered"), num_clips=NUM_CLIPS)


@pytest.fixture
def damaged(root, tmp_path):
    """A copy of the dataset whose sample 3 has a flipped byte in its video."""
    copy = tmp_path / "damaged"
    subprocess.run(["cp", "-r", root, copy], check=True)
    store = Store(copy)
    split = Manifest.load(store).split("train")
    reader = ShardReader(store, split)
    member = reader.info(3).member("mp4")
    tar = copy / split.shards[0].path
    content = bytearray(tar.read_bytes())
    content[member.offset + member.size // 2] ^= 0x10
    tar.write_bytes(content)
    return copy


def all_ids(loader):
    return [sample for batch in loader for sample in batch.sample_ids.tolist()]


def digest(loader):
    return [
        (batch.clip.numpy().tobytes(), batch.keys, batch.times_seconds.numpy().tobytes())
        for batch in loader
    ]


def source_number(key):
    return int(key.split("-")[1][:3])


def test_a_batch_has_the_shapes_and_types_it_promises(root):
    with build(root) as loader:
        batch = next(iter(loader))
    assert batch.clip.shape == (2, 5, 4, 32, 32)
    assert batch.clip.dtype == torch.uint8
    assert batch.channels == fs.CHANNELS
    assert batch.labels.dtype == torch.int64
    assert batch.times_seconds.shape == (2, 4)
    assert batch.flow_estimator == "dis"
    assert loader.classes == ("class-0", "class-1", "class-2")


def test_clips_show_the_frames_and_labels_of_their_keys(root):
    clip = fs.ClipConfig(num_frames=4, frame_stride=2, size=(64, 96), channels="rgb")
    with fs.build_loader(root, batch_size=3, clip=clip, tail="pad") as loader:
        for batch in loader:
            frames_BTHWC = batch.clip.permute(0, 2, 3, 4, 1).numpy()
            for place, key in enumerate(batch.keys):
                number = source_number(key)
                indices = np.rint(batch.times_seconds[place].numpy() * float(FPS)).astype(int)
                expected = [first_number(number) + index for index in indices]
                assert read_numbers(frames_BTHWC[place]) == expected, key
                assert batch.labels[place] == number % 3


def test_the_sound_is_the_tone_of_its_clip(root):
    clip = fs.ClipConfig(
        num_frames=2, frame_stride=4, size=(64, 16), window="centre", channels=("mel",),
        mel=fs.MelConfig(method="simple"),
    )  # fmt: skip
    with fs.build_loader(root, batch_size=1, clip=clip, shuffle=False) as loader:
        for batch in loader:
            hertz = batch.clip.float().mean() / 255 * 8000
            assert abs(hertz - (200 + 50 * source_number(batch.keys[0]))) < 40


@pytest.mark.parametrize("tail", ["drop", "pad", "wrap"])
def test_every_sample_once_an_epoch(root, tail):
    with fs.build_loader(root, batch_size=4, clip=CLIP, tail=tail) as loader:
        batches = list(loader)
        assert len(batches) == len(loader) == (3 if tail == "drop" else 4)
    ids = [i for batch in batches for i in batch.sample_ids.tolist()]
    padding = [flag for batch in batches for flag in batch.is_padding.tolist()]
    if tail == "drop":
        assert len(set(ids)) == len(ids) == 12
        assert not any(padding)
    else:
        assert sorted(ids[:NUM_CLIPS]) == list(range(NUM_CLIPS))
        assert ids[NUM_CLIPS:] == ids[: 16 - NUM_CLIPS]
        assert padding == [tail == "pad" and place >= NUM_CLIPS for place in range(16)]


def test_ranks_together_cover_the_epoch_exactly_once(root):
    delivered = []
    for rank in range(3):
        world = fs.WorldInfo(rank=rank, world_size=3)
        with fs.build_loader(root, batch_size=2, clip=CLIP, tail="pad", world=world) as loader:
            assert len(loader) == 3
            delivered += [
                sample
                for batch in loader
                for sample, padding in zip(batch.sample_ids, batch.is_padding, strict=True)
                if not padding
            ]
    assert sorted(map(int, delivered)) == list(range(NUM_CLIPS))


def test_two_runs_with_the_same_seed_are_byte_identical(root):
    with build(root, num_workers=1) as one, build(root, num_workers=4) as two:
        assert digest(one) == digest(two)


def test_seeds_and_epochs_differ(root):
    with build(root) as loader:
        first, second = all_ids(loader), all_ids(loader)
        loader.set_epoch(0)
        assert all_ids(loader) == first
    assert first != second


def test_a_clip_does_not_depend_on_its_batch(root):
    clips = {}
    for batch_size in (1, 3, 5):
        with fs.build_loader(root, batch_size=batch_size, clip=CLIP, seed=4, tail="pad") as loader:
            for batch in loader:
                for place, sample in enumerate(batch.sample_ids.tolist()):
                    content = batch.clip[place].numpy().tobytes()
                    assert clips.setdefault(sample, content) == content


@pytest.mark.parametrize("stop", [0, 1, 3, 6])
def test_a_resumed_loader_goes_on_where_it_stood(root, stop):
    with build(root) as loader:
        whole = digest(loader)
    with build(root) as loader:
        batches = iter(loader)
        for _ in range(stop):
            next(batches)
        state = json.loads(json.dumps(loader.state_dict()))
    with build(root, num_workers=1) as resumed:
        resumed.load_state_dict(state)
        assert digest(resumed) == whole[stop:]
        assert resumed.epoch == 1


def test_a_state_moves_to_another_number_of_processes(root):
    with fs.build_loader(root, batch_size=4, seed=1, clip=CLIP, tail="pad") as loader:
        batches = iter(loader)
        done = next(batches).sample_ids.tolist()
        state = loader.state_dict()
    rest = []
    for rank in range(3):
        world = fs.WorldInfo(rank=rank, world_size=3)
        with fs.build_loader(
            root, batch_size=1, seed=1, clip=CLIP, tail="pad", world=world
        ) as loader:
            loader.load_state_dict(state)
            rest += [int(batch.sample_ids[0]) for batch in loader if not batch.is_padding[0]]
    assert sorted(done + rest) == list(range(NUM_CLIPS))


def test_a_state_of_other_settings_is_refused(root):
    with build(root) as loader:
        state = loader.state_dict()
        with pytest.raises(StateMismatch, match="version"):
            loader.load_state_dict(state | {"version": 99})
    with (
        fs.build_loader(root, batch_size=2, seed=11, clip=CLIP, shuffle=False) as other,
        pytest.raises(StateMismatch, match="fingerprint"),
    ):
        other.load_state_dict(state)


def test_kill_minus_nine_at_any_point_and_resume_gives_the_rest_once(root, tmp_path):
    with build(root) as loader:
        whole = all_ids(loader)
    state_file = tmp_path / "state.json"
    random_moments = random.Random(7)
    kills = 0
    for _ in range(40):
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.consume", str(root), str(state_file)],
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(random_moments.randint(1, 2)):
            process.stdout.readline()
        time.sleep(random_moments.uniform(0, 0.06))
        if process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)
            kills += 1
        process.wait(timeout=60)
        process.stdout.close()
        if process.returncode == 0:
            break
    assert process.returncode == 0, "the epoch never ended"
    assert kills >= 2, "no kill met a running process"
    assert json.loads(state_file.read_text())["ids"] == whole


def test_a_corrupt_sample_is_replaced_and_reported(damaged):
    with fs.build_loader(damaged, batch_size=1, clip=CLIP, shuffle=False, tail="pad") as loader:
        batches = list(loader)
        stats = loader.stats()
    assert [int(batch.sample_ids[0]) for batch in batches] == list(range(NUM_CLIPS))
    assert [bool(batch.is_substitute[0]) for batch in batches] == [i == 3 for i in range(NUM_CLIPS)]
    assert batches[3].keys == batches[4].keys
    assert torch.equal(batches[3].labels, batches[4].labels)
    assert len(stats["quarantined"]) == 1


def test_a_lost_sidecar_costs_its_samples_and_not_the_run(root, tmp_path):
    copy = tmp_path / "lost"
    subprocess.run(["cp", "-r", root, copy], check=True)
    shards = Manifest.load(Store(copy)).split("train").shards
    (copy / shards[1].index_path).unlink()
    with fs.build_loader(copy, batch_size=1, clip=CLIP, shuffle=False, tail="pad") as loader:
        substitutes = [bool(batch.is_substitute[0]) for batch in loader]
        reasons = {sample["reason"] for sample in loader.stats()["quarantined"]}
    first = shards[0].num_samples
    assert substitutes == [first <= i < first + shards[1].num_samples for i in range(NUM_CLIPS)]
    assert all("no such file" in reason for reason in reasons)


def test_a_corrupt_sample_raises_when_asked_to(damaged):
    with fs.build_loader(
        damaged, batch_size=1, clip=CLIP, shuffle=False, on_bad_sample="raise"
    ) as loader:
        batches = iter(loader)
        for _ in range(3):
            next(batches)
        with pytest.raises(ShardCorrupt, match="checksum"):
            next(batches)


def test_too_many_corrupt_samples_stop_the_run(root, tmp_path):
    copy = tmp_path / "bad"
    subprocess.run(["cp", "-r", root, copy], check=True)
    store = Store(copy)
    split = Manifest.load(store).split("train")
    for shard in split.shards:
        tar = copy / shard.path
        tar.write_bytes(bytes(len(tar.read_bytes())))
    with (
        fs.build_loader(copy, batch_size=1, clip=CLIP, max_bad_fraction=0.1) as loader,
        pytest.raises(TooManyBadSamples, match="clip-"),
    ):
        list(loader)


def test_sliding_windows_are_all_delivered_once(root):
    clip = fs.ClipConfig(
        num_frames=3, frame_stride=1, size=(16, 16), channels="rgb",
        window="sliding", window_seconds=0.5, hop_seconds=0.25,
    )  # fmt: skip
    windows = 1 + int((FRAMES_PER_CLIP / FPS - 0.5) / 0.25)
    with fs.build_loader(root, batch_size=4, clip=clip, tail="pad") as loader:
        assert loader.num_clips == NUM_CLIPS * windows
        got = [
            (int(sample), int(window))
            for batch in loader
            for sample, window, padding in zip(
                batch.sample_ids, batch.window_indices, batch.is_padding, strict=True
            )
            if not padding
        ]
    assert sorted(got) == [(s, w) for s in range(NUM_CLIPS) for w in range(windows)]


def test_breaking_off_and_iterating_again_restarts_the_epoch(root):
    with build(root) as loader:
        first = next(iter(loader)).sample_ids.tolist()
        assert all_ids(loader)[:2] == first


def test_a_newer_iterator_takes_over_and_the_older_one_says_so(root):
    with build(root) as loader:
        older = iter(loader)
        next(older)
        newer = iter(loader)
        first = next(newer).sample_ids.tolist()
        with pytest.raises(LoaderClosed, match="newer"):
            next(older)
        assert loader.state_dict()["position"] == 2
        rest = [i for batch in newer for i in batch.sample_ids.tolist()]
        assert loader.epoch == 1
    assert len(set(first + rest)) == 12


def test_taking_exactly_all_batches_moves_on_to_the_next_epoch(root):
    with build(root) as loader:
        loops = [
            [
                batch.sample_ids.tolist()
                for _, batch in zip(range(len(loader)), loader, strict=False)
            ]
            for _ in range(3)
        ]
    with build(root) as loader:
        assert loops == [[batch.sample_ids.tolist() for batch in loader] for _ in range(3)]


def test_a_checkpoint_after_the_last_batch_resumes_into_an_empty_rest(root):
    with build(root) as loader:
        for _ in zip(range(len(loader)), loader, strict=False):
            state = loader.state_dict()
    with build(root) as loader:
        loader.load_state_dict(state)
        loader.set_epoch(0)
        assert list(loader) == []
        assert len(all_ids(loader)) == 12


def test_an_iterator_that_gave_nothing_uses_nothing_up(root):
    with build(root) as loader:
        whole = all_ids(loader)
        loader.load_state_dict(loader.state_dict() | {"epoch": 0, "position": 4})
        iter(loader)
        assert all_ids(loader) == whole[4:]


def test_set_epoch_while_iterating_counts_for_the_next_iterator(root):
    with build(root) as loader:
        batches = iter(loader)
        first = next(batches).sample_ids.tolist()
        loader.set_epoch(3)
        rest = [i for batch in batches for i in batch.sample_ids.tolist()]
        assert loader.state_dict()["epoch"] == 3
        third = all_ids(loader)
        loader.set_epoch(0)
        assert all_ids(loader) == first + rest
        assert third != first + rest


def test_close_leaves_no_thread_and_is_final(root):
    before = {thread.name for thread in threading.enumerate()}
    loader = build(root)
    next(iter(loader))
    loader.close()
    loader.close()
    assert {thread.name for thread in threading.enumerate()} <= before
    with pytest.raises(LoaderClosed):
        next(iter(loader))


def test_a_batch_stays_as_it_was_delivered(root):
    with fs.build_loader(root, batch_size=1, clip=CLIP, shuffle=False) as loader:
        kept = list(loader)
        again = list(loader)
    loader.set_epoch(0)
    for one, two in zip(kept, again, strict=True):
        assert one.keys == two.keys
        assert one.clip.data_ptr() != two.clip.data_ptr()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"split": "holdout"}, "holdout"),
        ({"batch_size": 0}, "batch_size"),
        ({"batch_size": 100}, "fewer than one global batch"),
        ({"tail": "loose"}, "tail"),
        ({"backend": "gpu"}, "backend"),
        ({"decode": "gpu"}, "decode"),
        ({"device": "tpu"}, "device"),
        ({"video_decoder": "magic"}, "video_decoder"),
        ({"clip": fs.ClipConfig(flow=fs.FlowConfig(estimator="nvof"))}, "nvof"),
    ],
)
def test_settings_that_cannot_work_are_refused_at_once(root, options, message):
    with pytest.raises((ConfigError, ManifestError), match=message):
        fs.build_loader(root, **{"batch_size": 2, "clip": CLIP} | options)


@pytest.mark.parametrize("worker_kind", ["process", "thread"])
def test_a_relative_folder_stays_where_it_was(root, tmp_path, monkeypatch, worker_kind):
    monkeypatch.chdir(root.parent)
    with fs.build_loader(root.name, batch_size=4, clip=CLIP, worker_kind=worker_kind) as loader:
        monkeypatch.chdir(tmp_path)
        keys = [key for batch in loader for key in batch.keys]
        assert not loader.stats()["quarantined"]
    assert len(set(keys)) == len(keys) > 4


def test_a_folder_that_is_no_dataset_says_so(tmp_path):
    with pytest.raises(ShardNotFound, match=r"manifest\.json"):
        fs.build_loader(tmp_path)
