"""Large datasets open, resume and give batches; worlds that lose samples are found out."""

from dataclasses import replace

import pytest

from benchmarks.scaling.counted import CountedStore
from benchmarks.scaling.ranks import RankEpoch, WorldEpoch, measure_ranks
from benchmarks.scaling.ranks import bars_of as rank_bars
from benchmarks.scaling.sizes import (
    PLACES,
    ResumeCost,
    SizeCost,
    bars_of,
    first_batch_seconds,
    positions_of,
    resume_cost,
)
from benchmarks.synthetic import write_dataset
from fmrgb_stream.shards import Manifest, ShardReader
from fmrgb_stream.storage import Store


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    root = tmp_path_factory.mktemp("large")
    return write_dataset(root, num_samples=100_000, samples_per_shard=64, num_distinct=1)


def test_a_hundred_thousand_samples_resume_anywhere_with_as_few_reads(large):
    positions = positions_of(100_000)
    assert positions["end"] > 99_900
    reads = [resume_cost(large, position).num_reads for position in positions.values()]
    # The manifest; for each of 32 clips its range, and at most one sidecar's footer and row group.
    assert all(1 + 32 < count <= 1 + 3 * 32 for count in reads)


def test_a_hundred_thousand_samples_give_a_first_batch(large):
    assert first_batch_seconds(large, positions_of(100_000)["middle"]) > 0


def test_each_figure_of_a_size_has_its_bar():
    same = dict.fromkeys(PLACES, ResumeCost(num_reads=60, cpu_ms=10))
    good = SizeCost(
        num_samples=10**6,
        manifest_bytes=1,
        manifest_ms=1,
        manifest_held_bytes=1,
        plan_ms=1,
        plan_peak_bytes=10**6,
        resume=same,
        first_batch_seconds=dict.fromkeys(PLACES, 1.9),
    )
    slow_end = same | {"end": ResumeCost(num_reads=60, cpu_ms=16)}
    many_reads = same | {"end": ResumeCost(num_reads=98, cpu_ms=10)}
    changes = {
        "": {},
        "first batch": {"first_batch_seconds": dict.fromkeys(PLACES, 1.0) | {"end": 2.1}},
        "plan memory": {"plan_peak_bytes": 5 * 10**6},
        "resume CPU": {"resume": slow_end},
        "resume reads": {"resume": many_reads},
    }
    for name, change in changes.items():
        missed = [bar.name for bar in bars_of(replace(good, **change)) if not bar.is_met]
        assert [found.startswith(name) for found in missed] == [True] * bool(name)


def test_a_synthetic_dataset_is_what_its_manifest_says(large):
    manifest = Manifest.load(Store(large))
    assert manifest.num_samples == 100_000
    reader = ShardReader(Store(large), manifest.split("train"))
    for sample_id in (0, 64, 99_967, 99_968, 99_999):
        assert len(reader.read(sample_id).video) > 0


def test_reads_are_counted(tmp_path):
    (tmp_path / "shard.tar").write_bytes(b"0123456789")
    store = CountedStore(tmp_path)
    store.read("shard.tar")
    store.read_range("shard.tar", start=2, length=3)
    assert (store.num_reads, store.num_bytes, store.num_shard_bytes) == (2, 13, 3)


def world(*ids_by_rank, num_steps=None, num_bytes=50):
    return WorldEpoch(
        seconds=1.0,
        ranks=tuple(
            RankEpoch(
                num_steps=len(ids) if num_steps is None else num_steps[rank],
                sample_ids=list(ids),
                num_bytes=num_bytes,
                num_shard_bytes=num_bytes,
                cpu_seconds=1.0,
            )
            for rank, ids in enumerate(ids_by_rank)
        ),
    )


@pytest.mark.parametrize(
    ("epoch", "missed"),
    [
        (world([0, 1], [2, 3]), ""),
        (world([0, 1], [1, 3]), "not every sample once"),
        (world([0, 1], [2, 3], num_steps=[2, 1]), "unequal steps"),
        (world([0, 1], [2, 3], num_bytes=60), "bytes read"),
    ],
)
def test_a_world_that_goes_wrong_misses_its_bar(epoch, missed):
    bars = rank_bars(2, [], epoch, 4, 100)
    assert [missed in bar.name for bar in bars if not bar.is_met] == [True] * bool(missed)


@pytest.mark.slow
def test_two_processes_share_an_epoch(tmp_path):
    root = write_dataset(tmp_path, num_samples=64, samples_per_shard=32, num_distinct=1)
    _, bars = measure_ranks(root, [1, 2], rounds=1)
    assert [str(bar) for bar in bars if not bar.is_met] == []
