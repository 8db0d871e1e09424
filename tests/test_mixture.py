"""Mixtures by `build_loader(sources=...)`: what is refused, what a batch says, resume, statistics."""

import json
import os
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

import fmrgb_stream as fs
from fmrgb_stream.errors import ConfigError, StateMismatch
from fmrgb_stream.pipelines.cpu.messages import Control
from fmrgb_stream.sample import ClipTask
from fmrgb_stream.shards import Manifest
from fmrgb_stream.storage import Store
from tests.support.datasets import pack_numbered

CLIP = fs.ClipConfig(num_frames=2, frame_stride=1, size=(16, 16), channels="rgb")
SIZES = (11, 4)


@pytest.fixture(scope="session")
def roots(tmp_path_factory):
    folders = [tmp_path_factory.mktemp(name) for name in ("large", "small")]
    return [
        pack_numbered(folder, num_clips=size) for folder, size in zip(folders, SIZES, strict=True)
    ]


def build(sources, **options):
    settings = {"batch_size": 2, "clip": CLIP, "worker_kind": "thread", "num_workers": 1, "seed": 2}
    return fs.build_loader(sources=sources, **(settings | options))


def clips(batches):
    """(source, pass, sample) of everything but padding."""
    return [
        clip
        for batch in batches
        for *clip, padding in zip(
            batch.source_ids.tolist(),
            batch.source_passes.tolist(),
            batch.sample_ids.tolist(),
            batch.is_padding.tolist(),
            strict=True,
        )
        if not padding
    ]


def changed(root, target, **fields):
    """A copy of a dataset's manifest with other labels; its shards are not looked at."""
    target.mkdir()
    manifest = replace(Manifest.load(Store(root)), **fields)
    (target / "manifest.json").write_text(manifest.to_json())
    return target


def test_a_batch_names_the_source_of_each_clip(roots):
    expected = [{info.key for info in infos(root)} for root in roots]
    with build([(roots[0], 1), (roots[1], 1)]) as loader:
        for batch in loader:
            for key, sample, source in zip(
                batch.keys, batch.sample_ids.tolist(), batch.source_ids.tolist(), strict=True
            ):
                assert key in expected[source]
                assert key == infos(roots[source])[sample].key


def infos(root):
    from fmrgb_stream.shards import ShardReader

    store = Store(root)
    reader = ShardReader(store, Manifest.load(store).split("train"))
    return [reader.info(sample) for sample in range(reader.num_samples)]


def test_sources_without_weights_give_every_clip_once_an_epoch(roots):
    with build(roots, tail="pad") as loader:
        for epoch in range(2):
            got = clips(loader)
            expected = [
                [source, epoch, s] for source, size in enumerate(SIZES) for s in range(size)
            ]
            assert sorted(got) == expected


def test_weights_are_shares_of_an_epoch_and_passes_go_on_across_epochs(roots):
    with build([(roots[0], 1), (roots[1], 2)], tail="pad") as loader:
        assert [source.clips_per_epoch for source in loader.sources] == [5, 10]
        assert loader.num_clips == 15
        epochs = [clips(loader) for _ in range(3)]
        counts = loader.stats()["sources"]
    for got in epochs:
        assert Counter(source for source, _, _ in got) == {0: 5, 1: 10}
    of_first = [(number, sample) for got in epochs for source, number, sample in got if not source]
    assert sorted(of_first)[:11] == [(0, sample) for sample in range(11)]
    assert len(set(of_first)) == 15
    assert [one["num_delivered"] for one in counts] == [15, 30]
    assert [one["num_passes"] for one in counts] == [1, 7]


@pytest.mark.parametrize("worker_kind", ["process", "thread"])
def test_a_mixture_resumes_on_other_processes_at_any_batch(roots, worker_kind):
    sources = [(roots[0], 1), (roots[1], 3)]
    with build(sources, tail="drop", worker_kind=worker_kind) as loader:
        batches = iter(loader)
        got = clips([next(batches) for _ in range(3)])
        state = json.loads(json.dumps(loader.state_dict()))
    parts = []
    for rank in range(3):
        world = fs.WorldInfo(rank=rank, world_size=3)
        with build(
            sources, batch_size=1, tail="drop", world=world, worker_kind=worker_kind
        ) as part:
            part.load_state_dict(state)
            parts.append([clips([batch]) for _ in range(3) for batch in part])
    steps = zip(*parts, strict=True)
    got += [clip for step in steps for part in step for clip in part]
    assert max(Counter(map(tuple, got)).values()) == 1
    for source, size in enumerate(SIZES):
        counts = Counter(number for other, number, _ in got if other == source)
        assert all(counts[number] == size for number in range(max(counts)))


def test_a_pass_shows_other_random_windows_than_the_one_before(roots):
    times = {}
    with build([(roots[0], 1), (roots[1], 20)], tail="pad") as loader:
        for batch in loader:
            for source, sample, seconds in zip(
                batch.source_ids.tolist(),
                batch.sample_ids.tolist(),
                batch.times_seconds,
                strict=True,
            ):
                if source:
                    times.setdefault(sample, set()).add(float(seconds[0]))
    assert max(len(seen) for seen in times.values()) > 1


def test_a_state_of_other_weights_is_refused(roots):
    with build([(roots[0], 1), (roots[1], 1)]) as loader:
        state = loader.state_dict()
    with (
        build([(roots[0], 1), (roots[1], 2)]) as other,
        pytest.raises(StateMismatch, match="weights"),
    ):
        other.load_state_dict(state)


def test_a_state_of_the_first_version_is_read(roots):
    with fs.build_loader(roots[0], batch_size=2, clip=CLIP) as loader:
        state = loader.state_dict()
        del state["start"]
        loader.load_state_dict(state | {"version": 1, "epoch": 4, "position": 6})
        assert loader.epoch == 4
        assert loader.state_dict()["position"] == 6
        with pytest.raises(StateMismatch, match="reads 1 to 2"):
            loader.load_state_dict(state | {"version": 3})


def test_the_statistics_of_channels_are_those_of_the_mixed_clips(roots, tmp_path):
    stats = fs.Manifest.load(Store(roots[0])).channel_stats
    other = {name: replace(one, mean=one.mean / 2, std=one.std * 2) for name, one in stats.items()}
    small = changed(roots[1], tmp_path / "other", channel_stats=other)
    with build([(roots[0], 2), (small, 1)]) as loader:
        mixed = loader.manifest.channel_stats
    rng = np.random.default_rng(0)
    for name, one in stats.items():
        draws = np.concatenate(
            [rng.normal(one.mean, one.std, 200_000), rng.normal(one.mean / 2, one.std * 2, 100_000)]
        )
        assert mixed[name].mean == pytest.approx(draws.mean(), abs=0.01)
        assert mixed[name].std == pytest.approx(draws.std(), abs=0.01)


@pytest.mark.parametrize(
    ("sources", "message"),
    [
        ([], "names no dataset"),
        ([("large", 0)], "positive number"),
        ([("large", float("nan"))], "positive number"),
        ([("large", 1), ("large", 2)], "twice"),
        ([("large", 1), "small"], "some sources have a weight"),
        ([("large", 1), ("small", 1e-9)], "would give none"),
    ],
)
def test_sources_that_cannot_be_mixed_are_refused(roots, sources, message):
    folders = dict(zip(("large", "small"), roots, strict=True))
    named = [(folders[s[0]], s[1]) if isinstance(s, tuple) else folders[s] for s in sources]
    with pytest.raises(ConfigError, match=message):
        build(named)


SECRET = "hunter2Secret"


@pytest.mark.parametrize(
    ("sources", "message"),
    [
        ("/data/x", "sources is a str"),
        ({"/data/x": 1.0}, "sources is a dict"),
        ([(f"http://me:{SECRET}@host/x", "0.5")], r"sources\[0\] must be"),
        ([("/data/x", True)], r"sources\[0\] must be"),
        ([("/data/x",)], r"sources\[0\] must be"),
        (["/data/x", ("/data/y", 1, 2)], r"sources\[1\] must be"),
        ([7], r"sources\[0\] must be"),
    ],
)
def test_sources_of_another_kind_are_refused_without_their_values(sources, message):
    with pytest.raises(ConfigError, match=message) as caught:
        fs.build_loader(sources=sources)
    assert SECRET not in str(caught.value)


def test_sources_may_be_lists_as_a_yaml_file_has_them(roots):
    with fs.build_loader(
        sources=[[str(roots[0]), 0.5], [str(roots[1]), 1]], batch_size=2, clip=CLIP
    ) as loader:
        assert len(loader.sources) == 2


def test_a_root_and_sources_or_neither_are_refused(roots):
    with pytest.raises(ConfigError, match="either a root"):
        fs.build_loader(roots[0], sources=roots)
    with pytest.raises(ConfigError, match="either a root"):
        fs.build_loader()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"classes": ("class-0", "class-2", "class-1")}, "classes of the sources differ"),
        ({"target_names": ("valence",)}, "target_names of the sources differ"),
        ({"pack_config": {"audio_sample_rate": 8000}}, "audio_sample_rate of the sources differ"),
    ],
)
def test_sources_with_other_labels_or_sound_are_refused(roots, tmp_path, fields, message):
    other = changed(roots[1], tmp_path / "other", **fields)
    with pytest.raises(ConfigError, match=message):
        build([(roots[0], 1), (other, 1)])


def test_a_worker_that_dies_names_the_sample_and_its_source():
    control = Control.create(2)
    os.close(control.descriptor)
    control.begin(0, ClipTask(sample_id=5, window_index=0, epoch=0, is_padding=False, source=2))
    control.begin(1, ClipTask(sample_id=7, window_index=0, epoch=0, is_padding=False))
    assert control.samples() == ["sample 5 of source 2", "sample 7"]
    control.rest(0)
    assert control.samples() == ["sample 7"]
