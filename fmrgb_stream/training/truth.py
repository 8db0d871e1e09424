"""Loss name and batch -> what the outputs are compared with.

Shape legend: B clips, N targets.
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from fmrgb_stream.config import LossName
from fmrgb_stream.errors import ConfigError
from fmrgb_stream.sample import ClipBatch

TruthKind = Literal["classes", "labels", "targets"]
"""One class of several; labels that do not exclude each other; numbers."""


def truth_kind(loss: LossName, *, has_targets: bool) -> TruthKind:
    """What a loss is for in a dataset with or without targets."""
    if loss == "cross_entropy":
        return "classes"
    if loss == "bce":
        return "labels" if has_targets else "classes"
    return "targets"


def truth_or_none(batch: ClipBatch, *, loss: LossName) -> Tensor | None:
    """Labels int64 [B], or targets float32 [B, N], whichever the loss is for."""
    kind = truth_kind(loss, has_targets=batch.targets is not None)
    return batch.labels if kind == "classes" else batch.targets


def truth_of(batch: ClipBatch, *, loss: LossName) -> Tensor:
    """What the outputs are compared with: labels int64 [B], or targets float32 [B, N].

    Raises:
        ConfigError: the dataset does not have them.
    """
    truth = truth_or_none(batch, loss=loss)
    if truth is None:
        raise unfit(loss)
    return truth


def is_known(truth: Tensor) -> Tensor:
    """Bool [B]: False for a clip without label (negative) or with a missing target (NaN)."""
    return truth >= 0 if truth.ndim == 1 else ~truth.isnan().any(1)


def without_gaps(truth: Tensor) -> Tensor:
    """The same with numbers that can be computed with where `is_known` is False."""
    return truth.clamp(min=0) if truth.ndim == 1 else truth.nan_to_num()


def count_outputs(loss: LossName, *, num_classes: int, num_targets: int) -> int:
    """How many outputs a model needs.

    Raises:
        ConfigError: the dataset has nothing for this loss, or a single class.
    """
    kind = truth_kind(loss, has_targets=num_targets > 0)
    found = num_classes if kind == "classes" else num_targets
    if not found:
        raise unfit(loss)
    if kind == "classes" and found == 1:
        raise ConfigError(
            f"loss={loss!r} tells classes apart and this dataset has one only; pack it with at least "
            "two, or with a target of 0 and 1 for loss='bce'"
        )
    return found


def unfit(loss: LossName) -> ConfigError:
    """The dataset has nothing for this loss."""
    if loss == "cross_entropy":
        return ConfigError(
            "loss='cross_entropy' needs class labels and this dataset has none; use mse, pair or "
            "softrank for targets, bce for targets of 0 and 1"
        )
    what = "class labels or targets" if loss == "bce" else "regression targets"
    cure = "pack it with labels" if loss == "bce" else "use loss='cross_entropy' for classes"
    return ConfigError(f"loss={loss!r} needs {what} and this dataset has none; {cure}")
