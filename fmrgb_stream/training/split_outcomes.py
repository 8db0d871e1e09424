"""A trained model on a split of a dataset -> Outcomes: every clip once, by key."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from fmrgb_stream.config import LossName
from fmrgb_stream.errors import ConfigError
from fmrgb_stream.training.gathered_rows import GatheredBatch, run_model
from fmrgb_stream.training.outcomes import Activation, Outcomes, labels_by_name
from fmrgb_stream.training.truth import TruthKind, truth_kind

if TYPE_CHECKING:
    from accelerate import Accelerator
    from numpy.typing import NDArray
    from torch import Tensor

    from fmrgb_stream.models.interface import ClipModel
    from fmrgb_stream.sample import ClipBatch
    from fmrgb_stream.shards import Manifest, ShardReader


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What a model was trained to tell."""

    kind: TruthKind
    activation: Activation
    names: tuple[str, ...]
    """Of its outputs: classes, labels or targets."""


def question_of(loss: LossName, *, classes: Sequence[str], target_names: Sequence[str]) -> Question:
    """What a model trained with this loss on data with these classes or targets tells."""
    kind = truth_kind(loss, has_targets=bool(target_names))
    activation: Activation = "softmax" if loss == "cross_entropy" else "sigmoid"
    return Question(
        kind=kind,
        activation="none" if kind == "targets" else activation,
        names=tuple(classes if kind == "classes" else target_names),
    )


def split_outcomes(
    model: ClipModel,
    batches: Iterable[ClipBatch],
    *,
    split: str,
    question: Question,
    manifest: Manifest,
    reader: ShardReader,
    accelerator: Accelerator,
    with_truth: bool = True,
    on_clips: Callable[[int], None] | None = None,
) -> Outcomes:
    """What the model says of every clip of a split, in the order of samples and windows.

    Args:
        model: On the accelerator's device.
        batches: This process's part of the split, with tail="pad" (or none left over).
        split: Its name.
        question: What the model tells.
        manifest: Of the dataset.
        reader: Of the split, for keys and groups.
        accelerator: Brings together what all processes got; all get all rows.
        with_truth: Whether labels or targets are looked at.
        on_clips: Told how many clips came with each batch.

    Raises:
        ConfigError: the dataset's classes or targets are not the model's, or nothing could be read.
    """
    if with_truth:
        check_truth(question, manifest)
    model.eval()
    gathered: list[GatheredBatch] = []
    for rows in run_model(model, batches, accelerator=accelerator, fields=model.batch_fields):
        gathered.append(rows)
        if on_clips is not None:
            on_clips(len(rows.outputs))
    sample_ids = _column(gathered, "sample_ids")
    windows = _column(gathered, "window_indices")
    is_bad = _column(gathered, "is_substitute").astype(np.bool_)
    order = np.lexsort((windows, sample_ids))
    order = order[~is_bad[order]]
    if not len(order):
        raise ConfigError(f"split {split!r}: none of {len(sample_ids)} clips could be read")
    infos = {int(i): reader.info(int(i)) for i in np.unique(sample_ids)}
    ids = [int(i) for i in sample_ids[order]]
    labels, targets = _truth(gathered, question, manifest) if with_truth else (None, None)
    return Outcomes(
        split=split,
        kind=question.kind,
        activation=question.activation,
        names=question.names,
        keys=tuple(infos[i].key for i in ids),
        groups=tuple(infos[i].group for i in ids),
        sample_ids=sample_ids[order],
        window_indices=windows[order],
        spans_seconds=_column(gathered, "spans_seconds")[order],
        outputs=_column(gathered, "outputs")[order],
        labels=None if labels is None else labels[order],
        targets=None if targets is None else targets[order],
        unreadable=tuple(infos[int(i)].key for i in np.unique(sample_ids[is_bad])),
    )


def check_truth(question: Question, manifest: Manifest) -> None:
    """Refuse a dataset that tells other things than the model was trained for.

    Unlabelled data are welcome: they are predicted, and cannot be scored.

    Raises:
        ConfigError: classes or targets differ.
    """
    if question.kind == "classes":
        labels_by_name(np.zeros(0, np.int64), found=manifest.classes, wanted=question.names)
        if not manifest.classes and manifest.target_names:
            raise ConfigError(
                f"the model tells the classes {list(question.names)}, the dataset has the targets "
                f"{list(manifest.target_names)}; use fmrgb predict --unlabelled"
            )
    elif manifest.target_names != question.names and (manifest.target_names or manifest.classes):
        raise ConfigError(
            f"the model tells {list(question.names)}, the dataset has "
            f"{list(manifest.target_names or manifest.classes)}; pack the data with those targets "
            "in that order, or use fmrgb predict --unlabelled"
        )


def _truth(
    gathered: Sequence[GatheredBatch], question: Question, manifest: Manifest
) -> tuple[NDArray[np.int64] | None, NDArray[np.float32] | None]:
    if question.kind == "classes":
        if not manifest.classes:
            return None, None
        labels = _column(gathered, "labels")
        return labels_by_name(labels, found=manifest.classes, wanted=question.names), None
    return None, _column(gathered, "targets") if manifest.target_names else None


def _column(gathered: Sequence[GatheredBatch], name: str) -> NDArray[Any]:
    parts: list[Tensor] = [getattr(batch, name) for batch in gathered]
    return torch.cat(parts).numpy()
