"""Model outputs and truth -> loss. The ranking losses follow tech-tatsuma's FMRGB trainer (loss.py).

Shape legend: B clips, N targets, K classes, V values in one ranking. All losses are means over the
clips that count, so they do not grow with B or N, and padding changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final, Protocol

import torch
from torch import Tensor
from torch.nn import functional

from fmrgb_stream.config import RankAxis
from fmrgb_stream.errors import ConfigError

LOSSES: Final = ("bce", "cross_entropy", "mse", "pair", "softrank")
RANKING_LOSSES: Final = ("pair", "softrank")
ROWS_AT_ONCE: Final = 1024
"""Of a table of all pairs, so that ranking a whole split needs no more memory than a large batch."""


class Loss(Protocol):
    """What `make_loss` gives."""

    def __call__(self, outputs: Tensor, truth: Tensor, counts_B: Tensor | None = None, /) -> Tensor:
        """Outputs [B, K or N], truth, and which clips count (bool [B]; None: all) -> scalar."""
        ...


class LossSettings(Protocol):
    """What `make_loss` reads; a `TrainConfig` has it."""

    @property
    def loss(self) -> str:
        """One of `LOSSES`."""
        ...

    @property
    def label_smoothing(self) -> float:
        """`cross_entropy` only."""
        ...

    @property
    def rank_axis(self) -> RankAxis:
        """`pair` and `softrank` only."""
        ...

    @property
    def pair_alpha(self) -> float:
        """`pair` only."""
        ...

    @property
    def softrank_tau(self) -> float:
        """`softrank` only."""
        ...


def make_loss(settings: LossSettings) -> Loss:
    """The loss that `settings.loss` names.

    Raises:
        ConfigError: there is none of this name.
    """
    axis = settings.rank_axis
    losses: dict[str, Loss] = {
        "bce": bce_loss,
        "cross_entropy": partial(cross_entropy_loss, label_smoothing=settings.label_smoothing),
        "mse": mse_loss,
        "pair": partial(pair_loss, rank_axis=axis, alpha=settings.pair_alpha),
        "softrank": partial(softrank_loss, rank_axis=axis, tau=settings.softrank_tau),
    }
    if settings.loss not in losses:
        raise ConfigError(f"loss={settings.loss!r} is not known; choose one of {list(LOSSES)}")
    return losses[settings.loss]


def ranks_clips(settings: LossSettings) -> bool:
    """Whether clips are compared with each other, so that those of all processes are needed."""
    return settings.loss in RANKING_LOSSES and settings.rank_axis == "batch"


def cross_entropy_loss(
    logits_BK: Tensor,
    labels_B: Tensor,
    counts_B: Tensor | None = None,
    *,
    label_smoothing: float = 0.0,
) -> Tensor:
    """Softmax cross entropy of logits; smoothing gives each class an equal part of that share."""
    costs_B = functional.cross_entropy(
        logits_BK, labels_B, reduction="none", label_smoothing=label_smoothing
    )
    return _mean_over_clips(costs_B, counts_B)


def bce_loss(logits_BN: Tensor, truth: Tensor, counts_B: Tensor | None = None) -> Tensor:
    """Sigmoid cross entropy of each output on its own, for labels that do not exclude each other.

    Args:
        logits_BN: float [B, N].
        truth: float [B, N] in 0..1, or int64 [B] class labels, which become one-hot.
        counts_B: bool [B].

    Raises:
        ConfigError: outputs and truth differ in shape.
    """
    if truth.ndim == 1:
        truth = functional.one_hot(truth, logits_BN.shape[1])
    _check_shapes(logits_BN, truth)
    costs = functional.binary_cross_entropy_with_logits(
        logits_BN, truth.to(logits_BN.dtype), reduction="none"
    )
    return _mean_over_clips(costs.mean(1), counts_B)


def mse_loss(outputs_BN: Tensor, targets_BN: Tensor, counts_B: Tensor | None = None) -> Tensor:
    """Mean squared error.

    Raises:
        ConfigError: outputs and targets differ in shape.
    """
    _check_shapes(outputs_BN, targets_BN)
    return _mean_over_clips((outputs_BN - targets_BN).square().mean(1), counts_B)


def pair_loss(
    outputs_BN: Tensor,
    targets_BN: Tensor,
    counts_B: Tensor | None = None,
    *,
    rank_axis: RankAxis = "batch",
    alpha: float = 0.5,
) -> Tensor:
    """Which of two is higher, and how far each is off.

    `mean_jk(alpha * BCE(sigmoid(p_j - p_k), 1[t_j > t_k])) + (1 - alpha) * mean_j((p_j - t_j)^2)`,
    where j and k run along the rank axis; the diagonal and ties have target 0, as in the source.

    Raises:
        ConfigError: shapes differ, or only one value stands along the rank axis.
    """

    def cost(outputs: Tensor, targets: Tensor) -> Tensor:
        is_higher = (targets > 0).to(outputs.dtype)
        return functional.binary_cross_entropy_with_logits(outputs, is_higher, reduction="none")

    ranking = _mean_over_pairs(outputs_BN, targets_BN, counts_B, cost=cost, rank_axis=rank_axis)
    return alpha * ranking + (1 - alpha) * mse_loss(outputs_BN, targets_BN, counts_B)


def softrank_loss(
    outputs_BN: Tensor,
    targets_BN: Tensor,
    counts_B: Tensor | None = None,
    *,
    rank_axis: RankAxis = "batch",
    tau: float = 0.1,
) -> Tensor:
    """Squared distance of the soft "is lower" matrices of outputs and targets.

    `mean_jk((sigmoid(-(p_j - p_k) / tau) - sigmoid(-(t_j - t_k) / tau))^2)`, where j and k run
    along the rank axis.

    Raises:
        ConfigError: shapes differ, or only one value stands along the rank axis.
    """

    def cost(outputs: Tensor, targets: Tensor) -> Tensor:
        return (torch.sigmoid(-outputs / tau) - torch.sigmoid(-targets / tau)).square()

    return _mean_over_pairs(outputs_BN, targets_BN, counts_B, cost=cost, rank_axis=rank_axis)


def _mean_over_clips(costs_B: Tensor, counts_B: Tensor | None) -> Tensor:
    """Mean over the clips that count, 0 if none does; no shape depends on how many they are."""
    if counts_B is None:
        return costs_B.mean()
    weights_B = counts_B.to(costs_B.dtype)
    return (costs_B * weights_B).sum() / weights_B.sum().clamp(min=1)


def _mean_over_pairs(
    outputs_BN: Tensor,
    targets_BN: Tensor,
    counts_B: Tensor | None,
    *,
    cost: Callable[[Tensor, Tensor], Tensor],
    rank_axis: RankAxis,
) -> Tensor:
    """Mean of `cost(p_j - p_k, t_j - t_k)` over all j and k along the rank axis."""
    _check_shapes(outputs_BN, targets_BN)
    if outputs_BN.shape[1 if rank_axis == "task" else 0] < 2:
        cure = "batch_size of 2 or more" if rank_axis == "batch" else "rank_axis='batch'"
        raise ConfigError(f"rank_axis={rank_axis!r} leaves one value to rank; use {cure}")
    if rank_axis == "task":
        costs_BNN = cost(_differences(outputs_BN, outputs_BN), _differences(targets_BN, targets_BN))
        return _mean_over_clips(costs_BNN.mean((1, 2)), counts_B)
    weights_B = (
        outputs_BN.new_ones(len(outputs_BN)) if counts_B is None else counts_B.to(outputs_BN.dtype)
    )
    outputs, targets, total = outputs_BN.T, targets_BN.T, outputs_BN.new_zeros(())
    for first in range(0, len(weights_B), ROWS_AT_ONCE):
        rows = slice(first, first + ROWS_AT_ONCE)
        costs_NVV = cost(
            _differences(outputs[:, rows], outputs), _differences(targets[:, rows], targets)
        )
        total = total + torch.einsum("njk,j,k->", costs_NVV, weights_B[rows], weights_B)
    return total / (len(outputs) * weights_B.sum().square().clamp(min=1))


def _differences(rows: Tensor, columns: Tensor) -> Tensor:
    """[..., j] and [..., k] -> [..., j, k] of value j minus value k."""
    return rows[..., :, None] - columns[..., None, :]


def _check_shapes(outputs_BN: Tensor, truth_BN: Tensor) -> None:
    # mse of [B, 1] and [B] would compare every clip with every other.
    if outputs_BN.shape != truth_BN.shape or outputs_BN.ndim != 2:
        raise ConfigError(
            f"outputs {tuple(outputs_BN.shape)} and targets {tuple(truth_BN.shape)} must both be "
            "[B, N]; does num_classes of the model equal the number of targets?"
        )
