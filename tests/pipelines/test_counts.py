"""What a loader counts: bytes and requests of all its processes, idle workers, batches ahead."""

import os
import pickle
import time

import pytest

import fmrgb_stream as fs
from fmrgb_stream.config import LoaderConfig
from fmrgb_stream.errors import ConfigError
from fmrgb_stream.pipelines.choice import prefetch_depth
from fmrgb_stream.shards import Manifest, ShardReader
from fmrgb_stream.storage import ReadCounts, Store
from tests.support.datasets import pack_numbered

CLIP = fs.ClipConfig(num_frames=2, frame_stride=1, size=(16, 16), channels="fmrgb")


@pytest.fixture(scope="session")
def root(tmp_path_factory):
    return pack_numbered(tmp_path_factory.mktemp("counted"), num_clips=10)


def build(root, **options):
    return fs.build_loader(root, batch_size=2, clip=CLIP, tail="pad", **options)


@pytest.mark.parametrize("worker_kind", ["process", "thread"])
def test_an_epoch_counts_a_request_and_its_bytes_for_each_clip(root, worker_kind):
    reader = ShardReader(Store(root), Manifest.load(Store(root)).split("train"))
    spans = 0
    for sample in range(10):
        members = [m for m in reader.info(sample).members if m.extension != "json"]
        spans += max(m.offset + m.size for m in members) - min(m.offset for m in members)
    with build(root, worker_kind=worker_kind, num_workers=1) as loader:
        list(loader)
        first = loader.stats()["reads"]
        list(loader)
        # Works ahead: what is in the making for the epoch after is read too.
        second = loader.stats()["reads"]
    ahead = 2 * 2
    assert 10 <= second["num_requests"] - first["num_requests"] <= 10 + ahead
    assert spans <= first["num_bytes"]
    assert first["num_retries"] == first["num_cache_hits"] == 0


def test_read_counts_add_up_and_can_be_sent():
    one = ReadCounts(num_bytes=5, num_requests=2, num_retries=1)
    two = ReadCounts(num_bytes=7, num_requests=1, num_cache_hits=4)
    total = ReadCounts(num_bytes=12, num_requests=3, num_retries=1, num_cache_hits=4)
    assert one + two == pickle.loads(pickle.dumps(total))
    assert total - two == one


@pytest.mark.parametrize("worker_kind", ["process", "thread"])
def test_workers_are_idle_while_the_consumer_is_slow(root, worker_kind):
    with build(root, worker_kind=worker_kind, num_workers=1) as loader:
        for _ in loader:
            time.sleep(0.2)
        stats = loader.stats()
    assert 0.25 < stats["idle_seconds"] < 5
    assert (
        stats["num_batches_ready"] <= stats["num_batches_ahead"] <= stats["num_batches_limit"] == 2
    )


@pytest.mark.parametrize(
    ("prefetch_bytes", "depth"), [(1 << 30, 4), (4 * 8 * 1100, 4), (4 * 8 * 1100 - 1, 3), (1, 1)]
)
def test_batches_ahead_are_bounded_by_bytes_and_by_number(prefetch_bytes, depth):
    clip = fs.ClipConfig(num_frames=2, size=(10, 10), channels="fmrgb")  # 1000 bytes
    config = LoaderConfig(batch_size=8, prefetch_batches=4, prefetch_bytes=prefetch_bytes)
    assert prefetch_depth(clip, config, mean_sample_bytes=100) == depth


def test_values_of_two_and_four_bytes_count_as_such():
    for dtype, size in (("uint8", 1), ("float16", 2), ("float32", 4)):
        clip = fs.ClipConfig(num_frames=2, size=(10, 10), channels="fmrgb", dtype=dtype)
        config = LoaderConfig(batch_size=1, prefetch_batches=9, prefetch_bytes=4000)
        assert prefetch_depth(clip, config, mean_sample_bytes=0) == 4 // size


@pytest.mark.parametrize("worker_kind", ["process", "thread"])
def test_a_small_byte_bound_slows_no_epoch_to_a_stop(root, worker_kind):
    with build(root, worker_kind=worker_kind, prefetch_batches=4, prefetch_bytes=1) as loader:
        assert sum(int((~batch.is_padding).sum()) for batch in loader) == 10
        assert loader.stats()["num_batches_limit"] == 1


def test_a_byte_bound_of_nothing_is_refused(root):
    with pytest.raises(ConfigError, match="prefetch_bytes"):
        build(root, prefetch_bytes=0)


def test_the_store_counts_what_it_reads(tmp_path):
    (tmp_path / "x").write_bytes(os.urandom(100))
    store = Store(tmp_path)
    store.read("x")
    store.read_range("x", start=10, length=20)
    assert store.counts() == ReadCounts(num_bytes=120, num_requests=2)
    assert pickle.loads(pickle.dumps(store)).counts() == ReadCounts()
