"""Model and loader -> what it says of every clip once, padding left out, all processes together.

Shape legend: B clips, K outputs, N targets.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from fmrgb_stream.errors import ConfigError
from fmrgb_stream.models.interface import CLIP_FIELDS, model_inputs
from fmrgb_stream.sample import ClipBatch
from fmrgb_stream.training.losses import Loss
from fmrgb_stream.training.metrics import accuracy, confusion_matrix, spearman
from fmrgb_stream.training.records import Evaluation


@dataclass(frozen=True, slots=True, kw_only=True)
class GatheredBatch:
    """A global batch without its padding, on the CPU, on every process."""

    outputs: Tensor
    """float32 [B, K]."""
    sample_ids: Tensor
    """int64 [B]."""
    window_indices: Tensor
    """int64 [B]."""
    spans_seconds: Tensor
    """float64 [B, 2]: times of the first and of the last valid frame."""
    middle_seconds: Tensor
    """float64 [B]: time of the frame at place T // 2."""
    is_substitute: Tensor
    """bool [B]: the sample could not be read, another one stood in."""
    labels: Tensor | None
    """int64 [B]."""
    targets: Tensor | None
    """float32 [B, N]."""


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


def run_model(
    call: Callable[..., Tensor],
    batches: Iterable[ClipBatch],
    *,
    accelerator: Accelerator,
    fields: Sequence[str] = CLIP_FIELDS,
) -> Iterator[GatheredBatch]:
    """Call a model on every batch and bring together what all processes got.

    Args:
        call: The model, in evaluation mode, or one of its methods: inputs -> float [B, K].
        batches: This process's; each process must have as many, of the same size.
        accelerator: Knows the device and the other processes.
        fields: What `call` takes of a batch.
    """
    device = accelerator.device
    for batch in batches:
        with torch.inference_mode(), accelerator.autocast():
            outputs = call(*model_inputs(batch, tuple(fields), device=device)).float()
            columns = [outputs, *_columns(batch)]
            # One copy to the host a batch: the results must leave the device anyway.
            gathered = cast(
                "list[Tensor]", accelerator.gather([column.to(device) for column in columns])
            )
            host = [column.cpu() for column in gathered]
        counts = ~host[-1]
        rows = [column[counts] for column in host[:-1]]
        yield GatheredBatch(
            outputs=rows[0],
            sample_ids=rows[1],
            window_indices=rows[2],
            spans_seconds=rows[3][:, :2],
            middle_seconds=rows[3][:, 2],
            is_substitute=rows[4],
            labels=None if batch.labels is None else rows[5],
            targets=None if batch.targets is None else rows[-1],
        )


def _columns(batch: ClipBatch) -> list[Tensor]:
    """What is known of a batch's clips; padding comes last."""
    times, num_frames = batch.times_seconds, batch.times_seconds.shape[1]
    last = (batch.num_valid_frames - 1).clamp(min=0)[:, None]
    middle = times[:, num_frames // 2, None]
    columns = [
        batch.sample_ids,
        batch.window_indices,
        torch.cat([times[:, :1], times.gather(1, last), middle], dim=1),
        batch.is_substitute,
    ]
    columns += [truth for truth in (batch.labels, batch.targets) if truth is not None]
    return [*columns, batch.is_padding]


def predict(
    model: nn.Module,
    batches: Iterable[ClipBatch],
    *,
    accelerator: Accelerator,
    is_classification: bool,
    fields: Sequence[str] = CLIP_FIELDS,
) -> tuple[Tensor, Tensor]:
    """Outputs float32 [B, K] and truth of every clip of all processes, on the CPU."""
    outputs: list[Tensor] = []
    truths: list[Tensor] = []
    model.eval()

    def checked() -> Iterator[ClipBatch]:
        for batch in batches:
            truth_of(batch, is_classification=is_classification)
            yield batch

    for rows in run_model(model, checked(), accelerator=accelerator, fields=fields):
        truth = rows.labels if is_classification else rows.targets
        if truth is not None:
            outputs.append(rows.outputs)
            truths.append(truth)
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
