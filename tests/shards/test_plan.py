"""Properties of the epoch order: exact-once, even, the same for any world, any start."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fmrgb_stream.shards.plan import EpochPlan, hash_counter, splitmix64, steps_left, uniform_at

shard_sizes = st.lists(st.integers(0, 70), min_size=1, max_size=12).filter(lambda s: sum(s) > 0)
shapes = st.fixed_dictionaries(
    {
        "shard_sizes": shard_sizes,
        "seed": st.integers(0, 2**63),
        "epoch": st.integers(0, 10_000),
        "shuffle": st.booleans(),
        "block_items": st.integers(1, 40),
        "window_blocks": st.integers(1, 9),
    }
)


def rank_positions(*, num_items, start, batch_size, world_size, rank, tail):
    """The positions a rank takes, written out from the definition."""
    global_batch = batch_size * world_size
    for step in range(steps_left(num_items, start, global_batch, tail)):
        first = start + step * global_batch + rank * batch_size
        yield range(first, first + batch_size)


@given(shapes)
def test_every_item_once_in_an_epoch(shape):
    plan = EpochPlan(**shape)
    assert sorted(plan.items(0, plan.num_items)) == list(range(sum(shape["shard_sizes"])))


@given(shapes, st.data())
def test_any_slice_equals_the_whole_order(shape, data):
    plan = EpochPlan(**shape)
    whole = plan.items(0, plan.num_items)
    start = data.draw(st.integers(0, plan.num_items))
    stop = data.draw(st.integers(start, plan.num_items))
    np.testing.assert_array_equal(EpochPlan(**shape).items(start, stop), whole[start:stop])


@given(shapes)
def test_past_the_end_the_order_begins_again(shape):
    plan = EpochPlan(**shape)
    count = plan.num_items
    np.testing.assert_array_equal(plan.items(count, 2 * count), plan.items(0, count))


@given(
    shapes,
    st.sampled_from(["drop", "pad", "wrap"]),
    st.integers(1, 8),
    st.sampled_from([1, 2, 3, 4, 8, 16]),
)
@settings(deadline=None)
def test_ranks_share_an_epoch_evenly_and_exactly_once(shape, tail, batch_size, world_size):
    plan = EpochPlan(**shape)
    batches = [
        list(
            rank_positions(
                num_items=plan.num_items,
                start=0,
                batch_size=batch_size,
                world_size=world_size,
                rank=rank,
                tail=tail,
            )
        )
        for rank in range(world_size)
    ]
    assert len({len(own) for own in batches}) == 1, "ranks differ in steps"
    positions = sorted(position for own in batches for batch in own for position in batch)
    assert positions == list(range(len(positions))), "a position is missing or double"
    global_batch = batch_size * world_size
    if tail == "drop":
        assert plan.num_items - len(positions) < global_batch
    else:
        assert set(range(plan.num_items)) <= set(positions)
        assert len(positions) - plan.num_items < global_batch


@given(shapes, st.sampled_from([(8, 1), (4, 2), (2, 4), (1, 8)]))
@settings(deadline=None)
def test_global_batches_do_not_depend_on_the_world_size(shape, division):
    plan = EpochPlan(**shape)
    batch_size, world_size = division
    for step in range(steps_left(plan.num_items, 0, 8, "pad")):
        parts = [
            plan.items(step * 8 + rank * batch_size, step * 8 + (rank + 1) * batch_size)
            for rank in range(world_size)
        ]
        np.testing.assert_array_equal(np.concatenate(parts), plan.items(step * 8, step * 8 + 8))


@given(shapes, st.data())
def test_stopping_and_going_on_with_another_batch_size_is_still_exactly_once(shape, data):
    plan = EpochPlan(**shape)
    delivered, position = [], 0
    while position < plan.num_items:
        batch = data.draw(st.integers(1, plan.num_items))
        end = min(position + batch, plan.num_items)
        delivered.extend(EpochPlan(**shape).items(position, end))
        position = end
    assert sorted(delivered) == list(range(plan.num_items))


def test_blocks_of_neighbours_stay_together_within_a_window():
    plan = EpochPlan([64] * 8, seed=3, epoch=0, shuffle=True, block_items=16, window_blocks=4)
    for window in range(8):
        blocks = set(plan.items(window * 64, (window + 1) * 64) // 16)
        assert len(blocks) == 4


def test_epochs_and_seeds_differ():
    def order(seed, epoch):
        plan = EpochPlan(
            [100], seed=seed, epoch=epoch, shuffle=True, block_items=8, window_blocks=4
        )
        return tuple(plan.items(0, 100))

    assert len({order(0, 0), order(0, 1), order(1, 0), order(1, 1)}) == 4


def test_without_shuffle_the_order_is_the_file_order():
    plan = EpochPlan([5, 7], seed=9, epoch=4, shuffle=False, block_items=3, window_blocks=2)
    np.testing.assert_array_equal(plan.items(0, 12), np.arange(12))


def test_splitmix64_gives_the_published_sequence():
    # First outputs of the reference generator seeded with 1234567 (state advances by the gamma).
    gamma = 0x9E3779B97F4A7C15
    states = np.array([(1234567 + k * gamma) % 2**64 for k in range(3)], dtype=np.uint64)
    assert splitmix64(states).tolist() == [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
    ]


def test_the_order_is_frozen():
    # A change here silently breaks the resume of every training run in flight.
    plan = EpochPlan([6, 6], seed=7, epoch=1, shuffle=True, block_items=3, window_blocks=2)
    assert plan.items(0, 12).tolist() == FROZEN_ORDER


FROZEN_ORDER = [4, 11, 3, 9, 5, 10, 7, 1, 6, 2, 0, 8]


def test_uniforms_are_uniform_and_belong_to_their_item():
    values = np.array([uniform_at(5, 0, item) for item in range(4000)])
    assert values.min() >= 0
    assert values.max() < 1
    counts = np.histogram(values, bins=10, range=(0, 1))[0]
    assert np.all(np.abs(counts - 400) < 100)  # five standard deviations
    assert uniform_at(5, 0, 17) == values[17]
    assert uniform_at(5, 1, 17) != values[17]


def test_shuffled_order_has_no_trend():
    plan = EpochPlan([2048], seed=0, epoch=0, shuffle=True, block_items=32, window_blocks=64)
    order = plan.items(0, 2048)
    assert abs(np.corrcoef(order[:-1], order[1:])[0, 1]) < 0.1
    assert abs(np.corrcoef(order, np.arange(2048))[0, 1]) < 0.1


@pytest.mark.parametrize(
    ("num_items", "position", "global_batch", "tail", "steps"),
    [
        (10, 0, 4, "drop", 2),
        (10, 0, 4, "pad", 3),
        (10, 8, 4, "drop", 0),
        (10, 8, 4, "wrap", 1),
        (10, 12, 4, "pad", 0),
        (3, 0, 4, "drop", 0),
        (3, 0, 4, "pad", 1),
    ],
)
def test_steps_left(num_items, position, global_batch, tail, steps):
    assert steps_left(num_items, position, global_batch, tail) == steps


def test_counter_hash_depends_on_every_part_of_the_key():
    keys = [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (0, 0)]
    assert len({tuple(hash_counter(*key, count=4)) for key in keys}) == len(keys)
