"""Model and loader -> Evaluation: every clip once, padding left out, all processes together."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from fmrgb_stream.errors import ConfigError
from fmrgb_stream.sample import ClipBatch
from fmrgb_stream.training.losses import Loss
from fmrgb_stream.training.metrics import accuracy, confusion_matrix, spearman
from fmrgb_stream.training.records import Evaluation


def truth_of(batch: ClipBatch, *, is_classification: bool) -> Tensor:
    """What the outputs are compared with: labels int64 [B], or targets float32 [B, N].

    Raises:
        ConfigError: the dataset does not have them.
    """
    truth = batch.labels if is_classification else batch.targets
    if truth is None:
        raise ConfigError(
            "loss='cross_entropy' needs class labels and this dataset has none; use mse, pair or "
            "softrank for targets"
            if is_classification
            else "this loss needs regression targets and this dataset has none; use "
            "loss='cross_entropy' for classes"
        )
    return truth


def predict(
    model: nn.Module,
    batches: Iterable[ClipBatch],
    *,
    accelerator: Accelerator,
    is_classification: bool,
) -> tuple[Tensor, Tensor]:
    """Outputs float32 [B, K] and truth of every clip of all processes, on the CPU."""
    outputs: list[Tensor] = []
    truths: list[Tensor] = []
    model.eval()
    with torch.inference_mode():
        for batch in batches:
            moved = accelerator.device
            output = model(batch.clip.to(moved), batch.num_valid_frames.to(moved))
            truth = truth_of(batch, is_classification=is_classification).to(moved)
            output, truth, is_padding = accelerator.gather(
                (output.float(), truth, batch.is_padding.to(moved))
            )
            # One copy to the host a batch: the results must leave the device anyway.
            counts = ~is_padding.cpu()
            outputs.append(output.cpu()[counts])
            truths.append(truth.cpu()[counts])
    return torch.cat(outputs), torch.cat(truths)


def score(outputs: Tensor, truth: Tensor, *, loss: Loss, is_classification: bool) -> Evaluation:
    """The numbers of one evaluation.

    Args:
        outputs: float32 [B, K].
        truth: int64 [B] labels, or float32 [B, K] targets.
        loss: Taken over all clips at once.
        is_classification: Accuracy and confusion, else Spearman's correlation by target.
    """
    mean_loss = float(loss(outputs, truth))
    if is_classification:
        table = confusion_matrix(outputs, truth).tolist()
        return Evaluation(
            loss=mean_loss,
            score=accuracy(outputs, truth),
            score_name="accuracy",
            num_clips=len(truth),
            confusion=tuple(tuple(row) for row in table),
        )
    by_target = tuple(
        spearman(output, target) for output, target in zip(outputs.T, truth.T, strict=True)
    )
    return Evaluation(
        loss=mean_loss,
        score=math.fsum(by_target) / len(by_target),
        score_name="spearman",
        num_clips=len(truth),
        spearman_by_target=by_target,
    )
