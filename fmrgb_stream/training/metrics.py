"""Outputs and truth of a whole evaluation -> numbers. Shape legend: B clips, N targets, K classes."""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics.functional.classification import multiclass_confusion_matrix


def accuracy(logits_BK: Tensor, labels_B: Tensor) -> float:
    """Share of clips whose highest logit is their label's."""
    return float((logits_BK.argmax(dim=1) == labels_B).double().mean())


def confusion_matrix(logits_BK: Tensor, labels_B: Tensor) -> Tensor:
    """int64 [K, K]: clips by true class (row) and predicted class (column)."""
    return multiclass_confusion_matrix(logits_BK, labels_B, num_classes=logits_BK.shape[1])


def average_ranks(values_B: Tensor) -> Tensor:
    """float64 [B]: ranks from 1; equal values share the mean of their ranks."""
    _, group_B, size_G = torch.unique(values_B, return_inverse=True, return_counts=True)
    last_rank_G = size_G.cumsum(0).double()
    return (last_rank_G - (size_G.double() - 1) / 2)[group_B]


def spearman(outputs_B: Tensor, targets_B: Tensor) -> float:
    """Spearman's rank correlation with ties: Pearson's of the average ranks, in -1..1.

    NaN when either side is constant: a constant predictor ranks nothing. (The short formula
    1 - 6 sum(d^2) / (n (n^2 - 1)) holds without ties only and would give a constant 0.5.)
    """
    outputs, targets = average_ranks(outputs_B), average_ranks(targets_B)
    outputs, targets = outputs - outputs.mean(), targets - targets.mean()
    spread = (outputs.square().sum() * targets.square().sum()).sqrt()
    if spread == 0:
        return float("nan")
    return float((outputs * targets).sum() / spread)
