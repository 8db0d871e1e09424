"""A loader over a scripted origin: what is fetched, what is delivered, and what ends a run."""

import contextlib
import tempfile

import numpy as np
import pytest

import fmrgb_stream as fs
from fmrgb_stream.distributed import WorldInfo
from fmrgb_stream.errors import ShardChanged, ShardCorrupt, StorageUnavailable
from fmrgb_stream.shards import Manifest, ShardReader
from fmrgb_stream.shards.index import index_to_parquet
from fmrgb_stream.shards.manifest import ROW_GROUP_SAMPLES
from fmrgb_stream.shards.sidecar import Sidecar
from fmrgb_stream.storage import CacheSettings, Store
from fmrgb_stream.storage.retry import RetryPolicy
from tests.support.datasets import pack_numbered
from tests.support.origin import Origin
from tests.support.packed import all_bytes
from tests.support.samples import sample_info
from tests.support.streaming import CLIP, NUM_CLIPS, delivered

FAULTS = ("503", "reset", "reset-mid", "short", "429", "500")


@pytest.fixture(scope="session")
def dataset(tmp_path_factory):
    root = pack_numbered(tmp_path_factory.mktemp("remote"), num_clips=NUM_CLIPS)
    return all_bytes(root)


@pytest.fixture
def origin(dataset):
    with Origin(dataset) as running:
        yield running


def num_shard_bytes(dataset):
    return Manifest.from_json(dataset["manifest.json"], url="x").num_bytes


def test_four_ranks_fetch_hardly_more_than_the_dataset(origin, dataset):
    with contextlib.ExitStack() as stack:
        ranks = [
            stack.enter_context(
                fs.build_loader(
                    origin.url(), batch_size=1, clip=CLIP, tail="drop", worker_kind="thread",
                    world=WorldInfo(rank=rank, world_size=4, local_rank=rank, local_world_size=4),
                )
            )
            for rank in range(4)
        ]  # fmt: skip
        steps = list(zip(*ranks, strict=True))
    ids = [int(batch.sample_ids[0]) for step in steps for batch in step]
    assert len(set(ids)) == len(ids) == NUM_CLIPS // 4 * 4
    assert origin.num_bytes() <= 1.1 * num_shard_bytes(dataset)
    assert len(origin.gets("train/shard-000000.parquet")) == 1


def test_a_second_epoch_with_a_cache_fetches_nothing(origin, tmp_path):
    with fs.build_loader(
        origin.url(), batch_size=2, tail="pad", clip=CLIP, cache_dir=tmp_path / "cache"
    ) as loader:
        assert len(list(loader)) == 7
        origin.seen.clear()
        assert len(list(loader)) == 7
    assert origin.num_bytes() == 0


@pytest.mark.parametrize("kind", ["process", "thread"])
def test_faults_on_every_shard_cost_no_sample(origin, dataset, kind):
    for place, name in enumerate(sorted(dataset)):
        if dataset[name]:
            origin.script(name, *np.roll(FAULTS, place).tolist())
    assert sorted(delivered(origin.url(), worker_kind=kind)) == list(range(NUM_CLIPS))


def quick(origin, cache=None):
    policy = RetryPolicy(tries=2, inner_retries=0, first_pause_seconds=0.01)
    return Store(origin.url(), policy=policy, cache=cache)


def train_reader(store):
    return ShardReader(store, Manifest.load(store).split("train"))


SHARD = "train/shard-000000.tar"


def test_one_flipped_byte_is_read_again(origin):
    reader = train_reader(quick(origin))
    good = bytes(reader.read(1).video)
    origin.seen.clear()
    origin.script(SHARD, "flip")
    assert bytes(reader.read(1).video) == good
    assert len(origin.gets(SHARD)) == 2


def test_a_byte_that_stays_flipped_names_shard_and_sample(origin):
    reader = train_reader(quick(origin))
    origin.script(SHARD, "flip", forever=True)
    with pytest.raises(ShardCorrupt, match=r"member clip-\d+\.mp4 of s3://bucket/train/shard") as e:
        reader.read(1)
    assert len(origin.gets(SHARD)) == 2
    assert (e.value.url, e.value.attempts) == (f"s3://bucket/{SHARD}", 2)


def test_a_damaged_cached_file_is_dropped_and_read_again(origin, tmp_path):
    cache = CacheSettings(folder=tmp_path)
    reader = train_reader(quick(origin, cache))
    good = bytes(reader.read(1).video)
    largest = max(tmp_path.glob("*.data"), key=lambda path: path.stat().st_size)
    largest.write_bytes(bytes(largest.stat().st_size))
    origin.seen.clear()
    assert bytes(train_reader(quick(origin, cache)).read(1).video) == good
    assert len(origin.gets(SHARD)) == 1
    assert not largest.exists()


def test_a_shard_replaced_during_the_run_ends_it(origin):
    with fs.build_loader(
        origin.url(), batch_size=1, clip=CLIP, shuffle=False, worker_kind="thread", num_workers=1,
        prefetch_batches=1,
    ) as loader:  # fmt: skip
        batches = iter(loader)
        next(batches)
        origin.objects[SHARD] = bytes(len(origin.objects[SHARD]))
        with pytest.raises(ShardChanged):
            list(batches)


def test_a_server_that_is_gone_ends_the_run_and_no_sample_is_substituted(dataset, monkeypatch):
    monkeypatch.setattr(RetryPolicy, "pause_seconds", lambda *_: 0.0)
    with (
        Origin(dataset) as origin,
        fs.build_loader(origin.url(), batch_size=1, clip=CLIP, worker_kind="thread") as loader,
    ):
        for name in dataset:
            origin.script(name, "500", forever=True)
        with pytest.raises(StorageUnavailable):
            list(loader)
        assert loader.stats()["num_bad_samples"] == 0


def test_a_missing_shard_is_counted_among_the_bad_samples(origin):
    del origin.objects[SHARD]
    with fs.build_loader(origin.url(), batch_size=1, clip=CLIP, worker_kind="thread") as loader:
        assert len(list(loader)) == NUM_CLIPS
        stats = loader.stats()
    assert stats["num_bad_samples"] == 5
    assert all("no such object" in bad["reason"] for bad in stats["quarantined"])


NUM_ROWS = 40 * ROW_GROUP_SAMPLES


@pytest.fixture(scope="session")
def large_sidecar():
    infos = [sample_info(key=f"sample-{row:06d}") for row in range(NUM_ROWS)]
    return index_to_parquet(infos, metadata={})


def test_rows_cost_their_row_group_and_not_the_sidecar(large_sidecar, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", "/proc")  # no folder for sidecars there
    with Origin({"a.parquet": large_sidecar}) as origin:
        sidecar = Sidecar(Store(origin.url()), "a.parquet")
        origin.seen.clear()
        rows = sidecar.rows(range(128, 192))
        assert [rows[0].key, rows[63].key] == ["sample-000128", "sample-000191"]
        assert len(origin.gets()) == 1
        assert origin.num_bytes() < len(large_sidecar) / 20
