"""Model and loader -> Predictions -> Evaluation: every clip once, padding left out, all processes together.

Shape legend: B clips, K outputs, N targets.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import Tensor, nn

from fmrgb_stream.config import TrainConfig
from fmrgb_stream.errors import ConfigError
from fmrgb_stream.models import model_inputs
from fmrgb_stream.models.interface import CLIP_FIELDS
from fmrgb_stream.sample import ClipBatch
from fmrgb_stream.training.losses import make_loss
from fmrgb_stream.training.metrics import (
    TargetScores,
    score_classes,
    score_labels,
    score_targets,
)
from fmrgb_stream.training.records import Evaluation, Scores
from fmrgb_stream.training.truth import is_known, truth_or_none, unfit


@dataclass(frozen=True, slots=True, kw_only=True)
class Predictions:
    """What a model says of every clip of a split, ordered by sample and window, on the CPU."""

    outputs: Tensor
    """float32 [B, K]: logits, or regression outputs."""
    truth: Tensor | None
    """int64 [B] labels (negative: none), or float32 [B, N] targets (NaN: none); None when the
    dataset has neither."""
    sample_ids: Tensor
    """int64 [B]."""
    window_indices: Tensor
    """int64 [B]."""
    keys: tuple[str, ...]
    """B sample keys."""


def predict(
    model: nn.Module,
    batches: Iterable[ClipBatch],
    *,
    accelerator: Accelerator,
    config: TrainConfig,
) -> Predictions:
    """Run a model over the clips of all processes.

    Processes meet once, at the end: they may have different numbers of batches.

    Args:
        model: Not wrapped for several processes, and the same in all of them.
        batches: This process's.
        accelerator: Knows the other processes.
        config: Its loss says which truth is wanted.
    """
    fields = getattr(model, "batch_fields", CLIP_FIELDS)
    parts: list[Predictions] = []
    model.eval()
    with torch.inference_mode():
        for batch in batches:
            with accelerator.autocast():
                output = model(*model_inputs(batch, fields, device=accelerator.device))
            # One copy to the host a batch: the results must leave the device anyway.
            parts.append(_counting_part(batch, output.float().cpu(), config))
    everyones: list[Predictions] = gather_object(parts)
    if not any(len(part.keys) for part in everyones):
        raise ConfigError("there is no clip to evaluate: no batch, or no sample could be read")
    return _joined(everyones)


def evaluate_on(
    model: nn.Module,
    batches: Iterable[ClipBatch],
    *,
    accelerator: Accelerator,
    config: TrainConfig,
) -> Evaluation:
    """The scores of a model on a whole split.

    Raises:
        ConfigError: the dataset lacks what the loss needs.
    """
    return score(predict(model, batches, accelerator=accelerator, config=config), config=config)


def score(predictions: Predictions, *, config: TrainConfig) -> Evaluation:
    """The numbers of one evaluation; clips without labels or targets are left out.

    Raises:
        ConfigError: no clip has them.
    """
    truth = predictions.truth
    if truth is None:
        raise unfit(config.loss)
    known = is_known(truth)
    if not bool(known.any()):
        raise unfit(config.loss)
    outputs, truth = predictions.outputs[known], truth[known]
    samples = predictions.sample_ids[known]
    scores = score_outputs(outputs, truth, config=config)
    is_ranked = isinstance(scores, TargetScores)
    _, first_row, num_windows = _groups(samples)
    by_sample = None
    if int(num_windows.max()) > 1:
        answers = outputs.softmax(1) if truth.ndim == 1 and not is_ranked else outputs
        averaged = mean_over(answers, samples)
        by_sample = score_outputs(averaged, truth[first_row], config=config)
    return Evaluation(
        loss=float(make_loss(config)(outputs, truth)),
        score=scores.spearman if is_ranked else scores.accuracy,
        score_name="spearman" if is_ranked else "accuracy",
        num_clips=len(truth),
        scores=scores,
        by_sample=by_sample,
    )


def score_outputs(outputs_BK: Tensor, truth: Tensor, *, config: TrainConfig) -> Scores:
    """The scores that go with the loss: of classes, of labels that go together, or of targets."""
    if truth.ndim == 1:
        return score_classes(outputs_BK, truth)
    scorer = score_labels if config.loss == "bce" else score_targets
    return scorer(outputs_BK, truth)


def mean_over(values_BK: Tensor, group_B: Tensor) -> Tensor:
    """Float [G, K]: the mean of the rows of each group, in the order of the group's numbers."""
    group_row_B, _, size_G = _groups(group_B)
    sums = values_BK.new_zeros((len(size_G), values_BK.shape[1]))
    return sums.index_add(0, group_row_B, values_BK) / size_G[:, None]


def _groups(group_B: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Each row's group from 0, the first row and the size of each group."""
    _, group_row_B, size_G = torch.unique(group_B, return_inverse=True, return_counts=True)
    first_row_G = torch.full_like(size_G, len(group_B)).scatter_reduce(
        0, group_row_B, torch.arange(len(group_B)), "amin"
    )
    return group_row_B, first_row_G, size_G


def _counting_part(batch: ClipBatch, outputs_BK: Tensor, config: TrainConfig) -> Predictions:
    # A stand-in would be counted as the sample that could not be read.
    counts = ~(batch.is_padding | batch.is_substitute).cpu()
    truth = truth_or_none(batch, loss=config.loss)
    return Predictions(
        outputs=outputs_BK[counts],
        truth=None if truth is None else truth.cpu()[counts],
        sample_ids=batch.sample_ids.cpu()[counts],
        window_indices=batch.window_indices.cpu()[counts],
        keys=tuple(key for key, is_in in zip(batch.keys, counts.tolist(), strict=True) if is_in),
    )


def _joined(parts: list[Predictions]) -> Predictions:
    samples = torch.cat([part.sample_ids for part in parts])
    windows = torch.cat([part.window_indices for part in parts])
    # By sample, then window: the same order for any number of processes.
    by_window = torch.argsort(windows, stable=True)
    order = by_window[torch.argsort(samples[by_window], stable=True)]
    truths = [part.truth for part in parts if part.truth is not None]
    keys = [key for part in parts for key in part.keys]
    return Predictions(
        outputs=torch.cat([part.outputs for part in parts])[order],
        truth=torch.cat(truths)[order] if len(truths) == len(parts) else None,
        sample_ids=samples[order],
        window_indices=windows[order],
        keys=tuple(keys[row] for row in order.tolist()),
    )
