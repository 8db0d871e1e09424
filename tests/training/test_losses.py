from dataclasses import dataclass

import numpy as np
import pytest
import torch

from fmrgb_stream.config import TrainConfig
from fmrgb_stream.errors import ConfigError
from fmrgb_stream.training.losses import (
    LOSSES,
    ROWS_AT_ONCE,
    bce_loss,
    cross_entropy_loss,
    make_loss,
    mse_loss,
    pair_loss,
    ranks_clips,
    softrank_loss,
)


@dataclass(frozen=True)
class Settings:
    loss: str
    label_smoothing: float = 0.0
    rank_axis: str = "batch"
    pair_alpha: float = 0.5
    softrank_tau: float = 0.1


def outputs_and_targets(num_clips=4, num_targets=3, seed=0):
    random = np.random.default_rng(seed)
    outputs, targets = random.normal(size=(2, num_clips, num_targets))
    targets[1, 1] = targets[1, 0]  # a tie along either axis
    targets[2, 2] = targets[0, 2]
    return outputs, targets


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def pair_by_hand(outputs, targets, alpha):
    """The source's formula, one list of ranked values after the other."""
    losses = []
    for p, t in zip(outputs, targets, strict=True):
        ranking = []
        for j in range(len(p)):
            for k in range(len(p)):
                probability = sigmoid(p[j] - p[k])
                ranking.append(-np.log(probability if t[j] > t[k] else 1 - probability))
        losses.append(alpha * np.mean(ranking) + (1 - alpha) * np.mean((p - t) ** 2))
    return np.mean(losses)


def softrank_by_hand(outputs, targets, tau):
    terms = [
        (sigmoid(-(p[j] - p[k]) / tau) - sigmoid(-(t[j] - t[k]) / tau)) ** 2
        for p, t in zip(outputs, targets, strict=True)
        for j in range(len(p))
        for k in range(len(p))
    ]
    return np.mean(terms)


def along(axis, values):
    return values if axis == "task" else values.T


@pytest.mark.parametrize("axis", ["task", "batch"])
@pytest.mark.parametrize("alpha", [0.5, 0.2])
def test_pair_loss_is_the_sources_formula(axis, alpha):
    outputs, targets = outputs_and_targets()

    loss = pair_loss(torch.tensor(outputs), torch.tensor(targets), rank_axis=axis, alpha=alpha)

    wanted = pair_by_hand(along(axis, outputs), along(axis, targets), alpha)
    assert loss.item() == pytest.approx(wanted, rel=1e-9)


@pytest.mark.parametrize("axis", ["task", "batch"])
@pytest.mark.parametrize("tau", [0.1, 1.0])
def test_softrank_loss_is_the_sources_formula(axis, tau):
    outputs, targets = outputs_and_targets()

    loss = softrank_loss(torch.tensor(outputs), torch.tensor(targets), rank_axis=axis, tau=tau)

    wanted = softrank_by_hand(along(axis, outputs), along(axis, targets), tau)
    assert loss.item() == pytest.approx(wanted, rel=1e-9)


def test_softrank_loss_is_zero_for_a_perfect_prediction():
    _, targets = outputs_and_targets()

    assert softrank_loss(torch.tensor(targets), torch.tensor(targets)).item() == 0.0


@pytest.mark.parametrize("loss", [pair_loss, softrank_loss])
@pytest.mark.parametrize("axis", ["task", "batch"])
def test_descending_a_ranking_loss_puts_the_values_in_order(loss, axis):
    targets = torch.tensor([[0.0, 1.0, 2.0], [1.0, 2.0, 0.0], [2.0, 0.0, 1.0]])
    outputs = torch.zeros(3, 3, requires_grad=True)
    optimiser = torch.optim.Adam([outputs], lr=0.05)
    for _ in range(200):
        optimiser.zero_grad()
        loss(outputs, targets, rank_axis=axis).backward()
        optimiser.step()

    ranked = 1 if axis == "task" else 0
    assert torch.equal(outputs.argsort(dim=ranked), targets.argsort(dim=ranked))


def test_batch_ranking_is_blind_to_what_task_ranking_sees():
    # Order along the clips is right for each target, order along the targets is not.
    targets = torch.tensor([[0.0, 10.0], [1.0, 11.0]])
    outputs = torch.tensor([[10.0, 0.0], [11.0, 1.0]])

    assert softrank_loss(outputs, targets, rank_axis="batch").item() < 1e-6
    assert softrank_loss(outputs, targets, rank_axis="task").item() > 0.4


@pytest.mark.parametrize("loss", [pair_loss, softrank_loss])
@pytest.mark.parametrize(("axis", "shape"), [("batch", (1, 3)), ("task", (3, 1))])
def test_ranking_a_single_value_is_refused(loss, axis, shape):
    with pytest.raises(ConfigError, match="one value to rank"):
        loss(torch.zeros(shape), torch.zeros(shape), rank_axis=axis)


def test_outputs_that_do_not_fit_the_targets_are_refused():
    with pytest.raises(ConfigError, match="num_classes"):
        softrank_loss(torch.zeros(4, 5), torch.zeros(4, 3))


def test_cross_entropy_takes_logits():
    logits = torch.tensor([[2.0, 0.0, -1.0]])
    wanted = -np.log(np.exp(2) / (np.exp(2) + 1 + np.exp(-1)))

    loss = make_loss(TrainConfig())(logits, torch.tensor([0]))

    assert loss.item() == pytest.approx(wanted, rel=1e-6)


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("mse", lambda p, t: np.mean((p - t) ** 2)),
        ("pair", lambda p, t: pair_by_hand(p, t, 0.3)),
        ("softrank", lambda p, t: softrank_by_hand(p, t, 0.7)),
    ],
)
def test_the_settings_reach_the_named_loss(name, wanted):
    outputs, targets = outputs_and_targets()
    config = TrainConfig(loss=name, rank_axis="task", pair_alpha=0.3, softrank_tau=0.7)

    loss = make_loss(config)(torch.tensor(outputs), torch.tensor(targets))

    assert loss.item() == pytest.approx(wanted(outputs, targets), rel=1e-9)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_smoothed_labels_are_a_mixture_with_equal_shares(smoothing):
    logits, labels = np.random.default_rng(0).normal(size=(5, 3)), np.array([0, 2, 1, 1, 0])
    log_softmax = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    wanted_shares = (1 - smoothing) * np.eye(3)[labels] + smoothing / 3

    loss = cross_entropy_loss(torch.tensor(logits), torch.tensor(labels), label_smoothing=smoothing)

    assert loss.item() == pytest.approx(-(wanted_shares * log_softmax).sum(1).mean(), rel=1e-9)


def test_smoothing_reaches_the_named_loss():
    logits, labels = torch.tensor([[4.0, 0.0]]), torch.tensor([0])

    smoothed = make_loss(Settings("cross_entropy", label_smoothing=0.5))(logits, labels)

    assert smoothed.item() == pytest.approx(
        cross_entropy_loss(logits, labels, label_smoothing=0.5).item()
    )
    assert smoothed.item() > make_loss(Settings("cross_entropy"))(logits, labels).item()


def test_bce_is_its_formula_on_every_output():
    logits, truth = (
        np.random.default_rng(0).normal(size=(4, 3)),
        np.array([[1, 0, 0], [1, 1, 0], [0, 0, 0.3], [1, 1, 1]]),
    )
    chance = sigmoid(logits)
    wanted = -np.mean(truth * np.log(chance) + (1 - truth) * np.log(1 - chance))

    loss = make_loss(Settings("bce"))(torch.tensor(logits), torch.tensor(truth))

    assert loss.item() == pytest.approx(wanted, rel=1e-9)


def test_bce_takes_class_labels_as_one_hot():
    logits = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
    one_hot = torch.tensor([[0.0, 0, 1, 0], [1, 0, 0, 0], [0, 0, 0, 1]])

    torch.testing.assert_close(bce_loss(logits, torch.tensor([2, 0, 3])), bce_loss(logits, one_hot))


@pytest.mark.parametrize("axis", ["task", "batch"])
@pytest.mark.parametrize("name", LOSSES)
def test_padding_never_counts(name, axis):
    outputs, targets = (torch.tensor(values) for values in outputs_and_targets(6))
    truth = torch.tensor([0, 2, 1, 1, 0, 2]) if name == "cross_entropy" else targets.sigmoid()
    counts = torch.tensor([True, False, True, True, False, True])
    loss = make_loss(Settings(name, rank_axis=axis))
    outputs.requires_grad_()

    value = loss(outputs, truth, counts)
    value.backward()

    assert value.item() == pytest.approx(loss(outputs[counts], truth[counts]).item(), rel=1e-9)
    assert outputs.grad[~counts].abs().max() == 0
    assert outputs.grad[counts].abs().min() > 0


@pytest.mark.parametrize("axis", ["task", "batch"])
@pytest.mark.parametrize("name", LOSSES)
def test_a_batch_of_nothing_but_padding_is_zero(name, axis):
    outputs, targets = (torch.tensor(values) for values in outputs_and_targets(3))
    truth = torch.tensor([0, 1, 2]) if name == "cross_entropy" else targets.sigmoid()

    value = make_loss(Settings(name, rank_axis=axis))(outputs, truth, torch.zeros(3).bool())

    assert value.item() == 0


def test_a_split_larger_than_the_table_at_once_is_ranked_whole():
    random = np.random.default_rng(0)
    outputs, targets = random.normal(size=(2, ROWS_AT_ONCE + 300))
    soft = [sigmoid(-(values[:, None] - values) / 0.5) for values in (outputs, targets)]

    loss = softrank_loss(torch.tensor(outputs[:, None]), torch.tensor(targets[:, None]), tau=0.5)

    assert loss.item() == pytest.approx(np.mean((soft[0] - soft[1]) ** 2), rel=1e-9)


@pytest.mark.parametrize("loss", [mse_loss, bce_loss, pair_loss])
def test_a_column_against_a_row_is_refused(loss):
    with pytest.raises(ConfigError, match="must both be"):
        loss(torch.zeros(4, 1), torch.zeros(4, 1, 1))


def test_an_unknown_loss_names_those_there_are():
    with pytest.raises(ConfigError, match="softrank"):
        make_loss(Settings("hinge"))


@pytest.mark.parametrize("axis", ["task", "batch"])
@pytest.mark.parametrize("name", LOSSES)
def test_losses_that_need_all_clips_are_those_in_which_one_clip_changes_anothers_gradient(
    name, axis
):
    outputs, targets = (torch.tensor(values) for values in outputs_and_targets())
    truth = torch.tensor([0, 2, 1, 1]) if name == "cross_entropy" else targets.sigmoid()
    settings, gradients = Settings(name, rank_axis=axis), []
    for mate in (0.0, 1.0):
        own = outputs.clone()
        own[3] += mate
        own.requires_grad_()
        make_loss(settings)(own, truth).backward()
        gradients.append(own.grad[0])

    assert ranks_clips(settings) == (not torch.equal(*gradients))
