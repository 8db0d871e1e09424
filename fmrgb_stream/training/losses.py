"""Model outputs and truth -> loss. The ranking losses follow tech-tatsuma's FMRGB trainer (loss.py).

Shape legend: B clips, N targets, K classes. All losses are means, so they do not grow with B or N.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional

from fmrgb_stream.errors import ConfigError
from fmrgb_stream.training.config import RankAxis, TrainConfig

Loss = Callable[[Tensor, Tensor], Tensor]


def make_loss(config: TrainConfig) -> Loss:
    """(outputs, truth) -> scalar loss, as `config.loss` names it."""
    if config.loss == "cross_entropy":
        return partial(functional.cross_entropy, label_smoothing=config.label_smoothing)
    if config.loss == "mse":
        return functional.mse_loss
    if config.loss == "pair":
        return partial(pair_loss, rank_axis=config.rank_axis, alpha=config.pair_alpha)
    return partial(softrank_loss, rank_axis=config.rank_axis, tau=config.softrank_tau)


def pair_loss(
    outputs_BN: Tensor, targets_BN: Tensor, *, rank_axis: RankAxis = "batch", alpha: float = 0.5
) -> Tensor:
    """Which of two is higher, and how far each is off.

    `mean_jk(alpha * BCE(sigmoid(p_j - p_k), 1[t_j > t_k])) + (1 - alpha) * mean_j((p_j - t_j)^2)`,
    where j and k run along the rank axis; the diagonal and ties have target 0, as in the source.

    Raises:
        ConfigError: only one value stands along the rank axis.
    """
    outputs, targets = _ranked_last(outputs_BN, targets_BN, rank_axis)
    target_is_higher = (_differences(targets) > 0).to(outputs.dtype)
    ranking = functional.binary_cross_entropy_with_logits(_differences(outputs), target_is_higher)
    return alpha * ranking + (1 - alpha) * functional.mse_loss(outputs, targets)


def softrank_loss(
    outputs_BN: Tensor, targets_BN: Tensor, *, rank_axis: RankAxis = "batch", tau: float = 0.1
) -> Tensor:
    """Squared distance of the soft "is lower" matrices of outputs and targets.

    `mean_jk((sigmoid(-(p_j - p_k) / tau) - sigmoid(-(t_j - t_k) / tau))^2)`, where j and k run
    along the rank axis.

    Raises:
        ConfigError: only one value stands along the rank axis.
    """
    outputs, targets = _ranked_last(outputs_BN, targets_BN, rank_axis)
    soft_outputs = torch.sigmoid(-_differences(outputs) / tau)
    soft_targets = torch.sigmoid(-_differences(targets) / tau)
    return functional.mse_loss(soft_outputs, soft_targets)


def _ranked_last(
    outputs_BN: Tensor, targets_BN: Tensor, rank_axis: RankAxis
) -> tuple[Tensor, Tensor]:
    if outputs_BN.shape != targets_BN.shape or outputs_BN.ndim != 2:
        raise ConfigError(
            f"outputs {tuple(outputs_BN.shape)} and targets {tuple(targets_BN.shape)} must both be "
            "[B, N]; does num_classes of the model equal the number of targets?"
        )
    if outputs_BN.shape[1 if rank_axis == "task" else 0] < 2:
        cure = "batch_size of 2 or more" if rank_axis == "batch" else "rank_axis='batch'"
        raise ConfigError(f"rank_axis={rank_axis!r} leaves one value to rank; use {cure}")
    if rank_axis == "task":
        return outputs_BN, targets_BN
    return outputs_BN.T, targets_BN.T


def _differences(values: Tensor) -> Tensor:
    """[..., n] -> [..., n, n] of value j minus value k."""
    return values[..., :, None] - values[..., None, :]
