"""Outputs and truth of a whole evaluation -> numbers. Padding must be left out before.

Shape legend: B clips, N targets, K classes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torchmetrics.functional import mean_absolute_error, mean_squared_error
from torchmetrics.functional.classification import (
    binary_f1_score,
    multiclass_accuracy,
    multiclass_confusion_matrix,
    multiclass_f1_score,
    multilabel_f1_score,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassScores:
    """How well classes are told."""

    num_clips: int
    accuracy: float
    balanced_accuracy: float
    """Mean over the classes that have clips of the share that is told right."""
    f1: float
    """Mean of the F1 of every class that has clips or was predicted."""
    confusion: tuple[tuple[int, ...], ...]
    """Clips by true class (row) and predicted class (column)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelScores:
    """How well labels that do not exclude each other are told; a logit above 0 says yes."""

    num_clips: int
    accuracy: float
    """Share of all answers that are right."""
    f1: float
    """Mean over the labels; one that nobody has and nobody was given counts as 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetScores:
    """How well numbers are told."""

    num_clips: int
    mse: float
    mae: float
    spearman_by_target: tuple[float, ...]
    """NaN where outputs or targets are constant."""
    spearman_of_sum: float
    """Of the sums over the targets, as S0 reports it."""

    @property
    def spearman(self) -> float:
        """Mean over the targets, NaN if one of them ranks nothing."""
        return math.fsum(self.spearman_by_target) / len(self.spearman_by_target)


def score_classes(logits_BK: Tensor, labels_B: Tensor) -> ClassScores:
    """Float [B, K] and int64 [B], K >= 2."""
    confusion = confusion_matrix(logits_BK, labels_B)
    return ClassScores(
        num_clips=len(labels_B),
        accuracy=accuracy(logits_BK, labels_B),
        balanced_accuracy=balanced_accuracy(confusion),
        f1=float(
            multiclass_f1_score(
                logits_BK, labels_B, num_classes=logits_BK.shape[1], average="macro"
            )
        ),
        confusion=tuple(tuple(row) for row in confusion.tolist()),
    )


def score_labels(logits_BN: Tensor, truth_BN: Tensor) -> LabelScores:
    """Float [B, N] and 0 or 1 [B, N]."""
    chosen, truth, num_labels = (logits_BN > 0).int(), truth_BN.int(), logits_BN.shape[1]
    # torchmetrics calls a single label a binary task.
    f1 = (
        multilabel_f1_score(chosen, truth, num_labels=num_labels, average="macro")
        if num_labels > 1
        else binary_f1_score(chosen, truth)
    )
    return LabelScores(
        num_clips=len(truth_BN),
        accuracy=float((chosen == truth).double().mean()),
        f1=float(f1),
    )


def score_targets(outputs_BN: Tensor, targets_BN: Tensor) -> TargetScores:
    """Float [B, N] both."""
    outputs, targets = outputs_BN.double(), targets_BN.double()
    return TargetScores(
        num_clips=len(targets),
        # Contiguous, because torchmetrics takes a flat view.
        mse=float(mean_squared_error(outputs.contiguous(), targets.contiguous())),
        mae=float(mean_absolute_error(outputs.contiguous(), targets.contiguous())),
        spearman_by_target=tuple(
            spearman(output, target) for output, target in zip(outputs.T, targets.T, strict=True)
        ),
        spearman_of_sum=spearman(outputs.sum(1), targets.sum(1)),
    )


def accuracy(logits_BK: Tensor, labels_B: Tensor) -> float:
    """Share of clips whose highest logit is their label's."""
    return float(
        multiclass_accuracy(logits_BK, labels_B, num_classes=logits_BK.shape[1], average="micro")
    )


def balanced_accuracy(confusion_KK: Tensor) -> float:
    """Mean recall of the classes that have clips.

    torchmetrics' macro accuracy also counts, as 0, a class without clips that was predicted.
    """
    clips_K = confusion_KK.sum(1)
    recall_K = confusion_KK.diagonal().double() / clips_K
    return float(recall_K[clips_K > 0].mean())


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

    NaN when either side is constant or holds a NaN: a constant predictor ranks nothing. (The short formula
    1 - 6 sum(d^2) / (n (n^2 - 1)) holds without ties only and would give a constant 0.5. torchmetrics
    goes over equal values one by one and in 32 bits, which a large split of few levels is too much for.)
    """
    if bool(outputs_B.isnan().any()) or bool(targets_B.isnan().any()):
        return float("nan")
    outputs, targets = average_ranks(outputs_B), average_ranks(targets_B)
    outputs, targets = outputs - outputs.mean(), targets - targets.mean()
    spread = (outputs.square().sum() * targets.square().sum()).sqrt()
    if spread == 0:
        return float("nan")
    return float((outputs * targets).sum() / spread)
