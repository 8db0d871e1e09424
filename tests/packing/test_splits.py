"""Groups stay whole, whatever else is in the dataset."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fmrgb_stream.config import PackConfig
from fmrgb_stream.errors import ConfigError, SourceError
from fmrgb_stream.packing.splits import assign_splits, explicit_splits, split_of_group

SHARES = {"train": 0.8, "val": 0.1, "test": 0.1}
names = st.text(min_size=1, max_size=8)


@given(groups=st.sets(names, max_size=30), others=st.sets(names, max_size=30), seed=st.integers())
def test_other_groups_move_no_group(groups, others, seed):
    alone = {g: split_of_group(g, seed=seed, shares=SHARES) for g in groups}
    together = assign_splits(groups | others, {}, seed=seed, shares=SHARES)
    moved = {g for g in groups if together[g] != alone[g]}
    # Only the one group that saves an empty train split may differ.
    assert len(moved) <= 1


@given(groups=st.lists(names, min_size=1, max_size=30), seed=st.integers())
def test_there_always_is_something_to_train_on(groups, seed):
    assert "train" in assign_splits(groups, {}, seed=seed, shares=SHARES).values()


def test_shares_are_met():
    splits = [split_of_group(f"actor-{n}", seed=0, shares=SHARES) for n in range(4000)]
    assert abs(splits.count("train") / 4000 - 0.8) < 0.03
    assert abs(splits.count("val") / 4000 - 0.1) < 0.03


def test_seed_changes_the_split():
    one, two = (
        [split_of_group(f"g{n}", seed=seed, shares=SHARES) for n in range(100)] for seed in (0, 1)
    )
    assert one != two


def test_split_without_a_share_stays_empty():
    shares = {"train": 0.5, "val": 0.5, "test": 0.0}
    splits = {split_of_group(f"g{n}", seed=0, shares=shares) for n in range(300)}
    assert splits == {"train", "val"}


def test_explicit_split_wins():
    assigned = assign_splits(["a", "b"], {"a": "test"}, seed=0, shares=SHARES)
    assert assigned["a"] == "test"


def test_group_in_two_explicit_splits_is_named():
    rows = [("actor-7", "train", "x.mp4"), ("actor-7", "test", "y.mp4")]
    with pytest.raises(SourceError, match=r"actor-7.*two splits.*x\.mp4.*y\.mp4"):
        explicit_splits(rows)


def test_split_that_cannot_be_a_folder_is_refused():
    with pytest.raises(SourceError, match="cannot name a folder"):
        explicit_splits([("g", "../up", "x.mp4")])


@pytest.mark.parametrize("name", ["../evil", "a/b", "", ".", "x" * 41, "train\n", "é"])
def test_config_with_a_split_that_cannot_be_a_folder_is_refused(name):
    with pytest.raises(ConfigError, match="cannot name a folder"):
        PackConfig(splits={name: 1.0})
