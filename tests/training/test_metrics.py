import math

import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import given
from hypothesis import strategies as st

from fmrgb_stream.training.metrics import accuracy, average_ranks, confusion_matrix, spearman

FEW_VALUES = st.integers(min_value=-3, max_value=3)


@given(st.lists(FEW_VALUES, min_size=1, max_size=30))
def test_ranks_are_scipys_average_ranks(values):
    ranks = average_ranks(torch.tensor(values))

    np.testing.assert_array_equal(ranks.numpy(), scipy.stats.rankdata(values))


@given(st.lists(st.tuples(FEW_VALUES, FEW_VALUES), min_size=3, max_size=30))
def test_spearman_is_scipys_with_ties(pairs):
    outputs, targets = map(list, zip(*pairs, strict=True))
    result = spearman(torch.tensor(outputs), torch.tensor(targets))

    if len(set(outputs)) == 1 or len(set(targets)) == 1:
        assert math.isnan(result)
    else:
        wanted = scipy.stats.spearmanr(outputs, targets).statistic
        assert result == pytest.approx(wanted, abs=1e-12)


def test_a_constant_predictor_has_no_rank_correlation():
    assert math.isnan(spearman(torch.zeros(5), torch.arange(5.0)))


def test_any_rising_function_of_the_truth_ranks_perfectly():
    targets = torch.tensor([0.3, -1.0, 2.0, 0.9])

    assert spearman(targets.exp(), targets) == pytest.approx(1.0)


def test_accuracy_counts_the_highest_logit():
    logits = torch.tensor([[1.0, 2.0], [3.0, 0.0], [0.0, 1.0], [5.0, 4.0]])

    assert accuracy(logits, torch.tensor([1, 0, 0, 0])) == 0.75


def test_confusion_has_a_row_for_each_true_class():
    logits = torch.eye(3)[[0, 1, 1, 2]]

    table = confusion_matrix(logits, torch.tensor([0, 0, 1, 2]))

    assert table.tolist() == [[1, 1, 0], [0, 1, 0], [0, 0, 1]]
