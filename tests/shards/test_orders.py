"""Properties of a whole epoch over all ranks: datasets, sliding windows, mixtures, and resume."""

from collections import Counter
from dataclasses import astuple
from itertools import chain

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from fmrgb_stream.config import LoaderConfig
from fmrgb_stream.distributed import WorldInfo
from fmrgb_stream.errors import ConfigError
from fmrgb_stream.shards import EpochCursor, ItemTable, RankTasks, SampleTable
from fmrgb_stream.shards.mixture import WINDOW_CLIPS, MixturePlan, share_out
from fmrgb_stream.shards.order import DatasetOrder, MixtureOrder
from fmrgb_stream.shards.position import EpochPlace

TAILS = ("drop", "pad", "wrap")
shards = st.lists(st.integers(0, 40), min_size=1, max_size=6).filter(any)
windows = st.lists(st.lists(st.integers(1, 5), max_size=12), min_size=1, max_size=5).filter(any)
tables = st.one_of(
    shards.map(SampleTable),
    windows.map(lambda shape: ItemTable([np.array(shard, np.int64) for shard in shape])),
)
weights = st.one_of(st.integers(1, 9), st.floats(0.05, 20.0))
configs = st.builds(
    LoaderConfig,
    seed=st.integers(0, 2**63),
    shuffle=st.booleans(),
    tail=st.sampled_from(TAILS),
    block_samples=st.integers(1, 20),
    shuffle_window_blocks=st.integers(1, 5),
    batch_size=st.integers(1, 7),
)
world_sizes = st.integers(1, 16)


@st.composite
def orders(draw, *, is_mixture=None):
    """(order of one dataset or of a mixture, its config, clips of each source)."""
    config = draw(configs)
    if is_mixture is None:
        is_mixture = draw(st.booleans())
    if not is_mixture:
        table = draw(tables)
        order = DatasetOrder(table, config=config, seed=config.seed)
        return order, config, [order.num_clips]
    listed = draw(st.lists(tables, min_size=1, max_size=4))
    sizes = [sum(table.shard_sizes) for table in listed]
    shares = share_out(
        sum(sizes), draw(st.lists(weights, min_size=len(sizes), max_size=len(sizes)))
    )
    assume(all(shares))
    return MixtureOrder(listed, shares, config=config), config, sizes


def ranks(order, config, world_size):
    """Every rank's tasks."""
    return [
        RankTasks(order=order, config=config, world=WorldInfo(rank=rank, world_size=world_size))
        for rank in range(world_size)
    ]


def steps(order, config, world_size, place, *, num_steps=None):
    """The global batches from a place on: for each step the clips of all ranks, in rank order."""
    parts = [list(tasks.batches(place)) for tasks in ranks(order, config, world_size)]
    assert len({len(part) for part in parts}) == 1, "ranks differ in steps"
    return [list(chain.from_iterable(step)) for step in zip(*parts, strict=True)][:num_steps]


def identities(batches):
    """(source, pass, sample, window) of all clips but padding."""
    return [
        (task.source, task.epoch, task.sample_id, task.window_index)
        for batch in batches
        for task in batch
        if not task.is_padding
    ]


def play(order, config, world_size, *, num_epochs):
    """The clips of some epochs, one list each."""
    tasks = ranks(order, config, world_size)[0]
    assume(tasks.steps_from(0))
    place, played = EpochPlace(), []
    for _ in range(num_epochs):
        played.append(identities(steps(order, config, world_size, place)))
        place = tasks.after(place)
    return played


@given(orders(is_mixture=False), world_sizes)
@settings(deadline=None)
def test_each_window_of_each_sample_comes_once_an_epoch_over_all_ranks(shape, world_size):
    order, config, _ = shape
    for epoch, clips in enumerate(play(order, config, world_size, num_epochs=2)):
        first = clips[: order.num_clips]
        assert len(set(first)) == len(first)
        assert {clip[1] for clip in clips} == {epoch}
        if config.tail == "drop":
            assert order.num_clips - len(clips) < config.batch_size * world_size
        else:
            assert len(first) == order.num_clips
            assert len(clips) == order.num_clips or config.tail == "wrap"


@given(orders(), st.integers(1, 16))
@settings(deadline=None)
def test_the_global_batches_are_the_same_for_every_world_that_divides_them(shape, batch_size):
    order, config, _ = shape
    expected = None
    for world_size in range(1, 17):
        if batch_size % world_size:
            continue
        one = LoaderConfig(
            seed=config.seed, shuffle=config.shuffle, tail=config.tail,
            batch_size=batch_size // world_size,
        )  # fmt: skip
        batches = steps(order, one, world_size, EpochPlace(epoch=1))
        expected = batches if expected is None else expected
        assert batches == expected


@given(orders(is_mixture=True), world_sizes, st.integers(1, 5))
@settings(deadline=None)
def test_every_clip_of_a_source_comes_exactly_once_a_pass(shape, world_size, num_epochs):
    order, config, sizes = shape
    clips = list(chain.from_iterable(play(order, config, world_size, num_epochs=num_epochs)))
    assert len(set(clips)) == len(clips), "a clip came twice in one pass"
    given_clips = Counter((source, number) for source, number, _, _ in clips)
    for source, size in enumerate(sizes):
        passes = sorted(number for other, number in given_clips if other == source)
        assert passes == list(range(len(passes)))
        assert all(given_clips[source, number] == size for number in passes[:-1])


@given(orders(is_mixture=True), world_sizes)
@settings(deadline=None)
def test_an_epoch_of_a_mixture_is_as_long_as_its_sources_together(shape, world_size):
    order, config, sizes = shape
    (clips,) = play(order, config, world_size, num_epochs=1)
    global_batch = config.batch_size * world_size
    whole, rest = divmod(sum(sizes), global_batch)
    expected = {
        "drop": whole * global_batch,
        "pad": sum(sizes),
        "wrap": (whole + (rest > 0)) * global_batch,
    }
    assert len(clips) == expected[config.tail]


@given(
    orders(), st.lists(st.tuples(world_sizes, st.integers(1, 7)), min_size=1, max_size=5), st.data()
)
@settings(deadline=None)
def test_stopping_and_going_on_with_other_worlds_and_batches_loses_and_doubles_nothing(
    shape, divisions, data
):
    order, config, sizes = shape
    place, delivered = EpochPlace(), []
    for number, (world_size, batch_size) in enumerate(divisions):
        one = LoaderConfig(
            seed=config.seed, shuffle=config.shuffle, tail=config.tail, batch_size=batch_size
        )
        tasks = ranks(order, one, world_size)[0]
        left = tasks.steps_from(place.position)
        num_steps = data.draw(st.integers(0, left)) if number < len(divisions) - 1 else left
        batches = steps(order, one, world_size, place, num_steps=num_steps)
        delivered += identities(batches)
        position = place.position + num_steps * tasks.global_batch_size
        is_over = tasks.steps_from(position) == 0
        place = tasks.after(place) if is_over else place.moved(position - place.position)
    counts = Counter(delivered)
    if isinstance(order, DatasetOrder) and config.tail == "wrap":
        return  # its wrapped clips are repeats by definition
    assert not counts or max(counts.values()) == 1
    if isinstance(order, DatasetOrder) and config.tail == "pad":
        finished = place.epoch
        assert sum(clip[1] < finished for clip in delivered) == finished * order.num_clips
    if isinstance(order, MixtureOrder):
        for source, size in enumerate(sizes):
            passes = Counter(clip[1] for clip in delivered if clip[0] == source)
            assert all(passes[number] == size for number in range(max(passes, default=0)))


@given(orders(), world_sizes, st.integers(0, 6), st.integers(0, 40))
@settings(deadline=None)
def test_a_place_in_any_epoch_is_found_without_playing_what_is_before(
    shape, world_size, epoch, stop
):
    order, config, _ = shape
    tasks = ranks(order, config, world_size)[0]
    assume(tasks.steps_from(0))
    place = EpochPlace()
    for _ in range(epoch):
        place = tasks.after(place)
    cursor = EpochCursor(tasks)
    cursor.choose(epoch)
    assert cursor.place == place
    whole = list(tasks.batches(place))
    stop = min(stop, len(whole))
    resumed = tasks.batches(place.moved(stop * tasks.global_batch_size))
    assert list(resumed) == whole[stop:]


@given(st.lists(st.integers(1, 2000), min_size=1, max_size=5), st.integers(0, 2**63), st.booleans())
def test_each_source_lies_evenly_in_a_round(shares, seed, shuffle):
    plan = MixturePlan(shares, seed=seed, shuffle=shuffle)
    total = sum(shares)
    sources, numbers = plan.locate(np.arange(total))
    for source, share in enumerate(shares):
        np.testing.assert_array_equal(numbers[sources == source], np.arange(share))
        given_before = np.cumsum(sources == source)
        even = np.arange(1, total + 1) * share / total
        assert np.abs(given_before - even).max() <= (
            WINDOW_CLIPS + len(shares) if shuffle else len(shares)
        )


@given(st.integers(1, 10_000), st.lists(weights, min_size=1, max_size=6))
def test_shares_add_up_and_are_off_by_less_than_one_clip(num_clips, listed):
    shares = share_out(num_clips, listed)
    assert sum(shares) == num_clips
    exact = num_clips * np.array(listed) / np.sum(listed)
    assert np.abs(np.array(shares) - exact).max() < 1 + 1e-6


def test_a_mixture_of_one_dataset_is_that_dataset():
    config = LoaderConfig(seed=5, batch_size=4, tail="pad")
    table = SampleTable([30, 41])
    one = DatasetOrder(table, config=config, seed=config.seed)
    mixed = MixtureOrder([table], [71], config=config)
    for epoch in range(3):
        positions = np.arange(71)
        expected = one.clips(positions, epoch=epoch, start=0)
        got = mixed.clips(positions, epoch=epoch, start=71 * epoch)
        for ours, theirs in zip(astuple(got), astuple(expected), strict=True):
            np.testing.assert_array_equal(ours, theirs)


def test_the_order_of_a_mixture_is_frozen():
    # A change here silently breaks the resume of every training run in flight.
    config = LoaderConfig(seed=7, batch_size=1, block_samples=3, shuffle_window_blocks=2)
    order = MixtureOrder([SampleTable([4, 2]), SampleTable([3])], [4, 5], config=config)
    clips = order.clips(np.arange(9), epoch=0, start=9)
    columns = [clips.sources, clips.passes, clips.samples]
    assert [column.tolist() for column in columns] == FROZEN_MIXTURE


FROZEN_MIXTURE = [
    [0, 1, 0, 1, 1, 0, 0, 1, 1],
    [0, 1, 0, 2, 2, 1, 1, 2, 3],
    [1, 0, 2, 0, 1, 1, 2, 2, 2],
]


def test_two_sources_of_one_shape_are_not_shuffled_alike():
    config = LoaderConfig(seed=1, batch_size=1)
    order = MixtureOrder([SampleTable([64]), SampleTable([64])], [64, 64], config=config)
    clips = order.clips(np.arange(128), epoch=0, start=0)
    first, second = (clips.samples[clips.sources == source] for source in (0, 1))
    assert (first != second).sum() > 48


def test_places_of_a_very_large_mixture_are_found_at_once():
    plan = MixturePlan([2 * 10**9, 10**9, 7], seed=0, shuffle=True)
    sources, numbers = plan.locate(np.array([0, 10**9, 3 * 10**9 + 6, 10**12]))
    assert sources.tolist()[3] in (0, 1)
    assert abs(int(numbers[1]) - (2, 1)[sources[1]] * 10**9 / 3) < WINDOW_CLIPS


def test_epochs_before_the_first_are_refused():
    config = LoaderConfig()
    order = DatasetOrder(SampleTable([64]), config=config, seed=0)
    with pytest.raises(ConfigError, match="negative"):
        EpochCursor(ranks(order, config, 1)[0]).choose(-1)
