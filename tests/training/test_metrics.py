import math

import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import given
from hypothesis import strategies as st

from fmrgb_stream.training.metrics import (
    accuracy,
    average_ranks,
    confusion_matrix,
    score_classes,
    score_labels,
    score_targets,
    spearman,
)

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


CLASSES = st.integers(min_value=0, max_value=3)


@given(st.lists(st.tuples(CLASSES, CLASSES), min_size=1, max_size=30))
def test_class_scores_are_their_formulas(pairs):
    """Classes without clips and classes that nobody predicted among them."""
    truth, chosen = np.array(pairs).T

    scores = score_classes(torch.eye(4)[chosen], torch.tensor(truth))

    recall = [np.mean(chosen[truth == k] == k) for k in range(4) if (truth == k).any()]
    f1 = [
        2 * np.sum((truth == k) & (chosen == k)) / (np.sum(truth == k) + np.sum(chosen == k))
        for k in range(4)
        if (truth == k).any() or (chosen == k).any()
    ]
    assert scores.num_clips == len(pairs)
    assert scores.accuracy == pytest.approx(np.mean(truth == chosen))
    assert scores.balanced_accuracy == pytest.approx(np.mean(recall))
    assert scores.f1 == pytest.approx(np.mean(f1), abs=1e-6)
    assert scores.confusion == tuple(
        tuple(int(np.sum((truth == row) & (chosen == column))) for column in range(4))
        for row in range(4)
    )


def test_always_the_most_frequent_class_is_no_better_than_chance():
    labels = torch.tensor([0] * 90 + [1] * 10)
    logits = torch.tensor([[1.0, 0.0]]).expand(100, 2)

    scores = score_classes(logits, labels)

    assert scores.accuracy == pytest.approx(0.9)
    assert scores.balanced_accuracy == pytest.approx(0.5)


def test_label_scores_are_their_formulas():
    logits = np.random.default_rng(0).normal(size=(20, 3))
    truth = np.random.default_rng(1).integers(0, 2, size=(20, 3))
    chosen = logits > 0
    hits = (chosen & (truth == 1)).sum(0)

    scores = score_labels(torch.tensor(logits), torch.tensor(truth))

    assert scores.num_clips == 20
    assert scores.accuracy == pytest.approx(np.mean(chosen == truth))
    assert scores.f1 == pytest.approx(np.mean(2 * hits / (chosen.sum(0) + truth.sum(0))), abs=1e-6)


def test_target_scores_are_numpys_and_scipys():
    random = np.random.default_rng(0)
    targets = random.integers(0, 5, size=(40, 3)).astype(np.float32)
    outputs = (targets + random.normal(size=(40, 3))).astype(np.float32)
    by_target = [scipy.stats.spearmanr(outputs[:, n], targets[:, n]).statistic for n in range(3)]
    of_sum = scipy.stats.spearmanr(
        outputs.astype(np.float64).sum(1), targets.astype(np.float64).sum(1)
    ).statistic

    scores = score_targets(torch.tensor(outputs), torch.tensor(targets))

    assert scores.mse == pytest.approx(np.mean((outputs - targets) ** 2), rel=1e-6)
    assert scores.mae == pytest.approx(np.mean(np.abs(outputs - targets)), rel=1e-6)
    assert scores.spearman_by_target == pytest.approx(by_target, abs=1e-12)
    assert scores.spearman == pytest.approx(np.mean(by_target), abs=1e-12)
    assert scores.spearman_of_sum == pytest.approx(of_sum, abs=1e-12)


def test_a_constant_predictor_scores_no_rank_correlation_anywhere():
    scores = score_targets(torch.ones(6, 2), torch.randn(6, 2))

    assert all(
        math.isnan(value)
        for value in (*scores.spearman_by_target, scores.spearman, scores.spearman_of_sum)
    )


def test_one_constant_output_of_several_is_not_averaged_away():
    targets = torch.arange(8.0).view(4, 2)
    outputs = torch.stack([targets[:, 0], torch.zeros(4)], dim=1)

    scores = score_targets(outputs, targets)

    assert scores.spearman_by_target[0] == pytest.approx(1)
    assert math.isnan(scores.spearman)


def test_an_output_that_is_no_number_ranks_nothing():
    assert math.isnan(spearman(torch.tensor([0.0, math.nan, 2.0]), torch.arange(3.0)))


def test_the_rank_correlation_of_a_whole_split_is_not_that_of_its_batches():
    """Averaged over batches these outputs would be perfect; over the split they are not."""
    targets = torch.tensor([0.0, 1, 2, 3, 4, 5])
    outputs = torch.tensor([3.0, 4, 5, 0, 1, 2])

    wanted = scipy.stats.spearmanr(outputs.numpy(), targets.numpy()).statistic
    assert spearman(outputs, targets) == pytest.approx(wanted)
    assert spearman(outputs, targets) < 0


def test_a_single_label_is_scored_by_hand_counts():
    scores = score_labels(
        torch.tensor([[2.0], [-1.0], [3.0], [-2.0]]), torch.tensor([[1], [1], [0], [0]])
    )

    # One right yes, one missed, one wrong yes, one right no: precision and recall are a half.
    assert (scores.accuracy, scores.f1) == (0.5, 0.5)
