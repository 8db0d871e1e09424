"""Loss name and batch -> what the outputs are compared with, and how they are scored."""

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


def truth_of(batch: ClipBatch, *, loss: LossName) -> Tensor:
    """What the outputs are compared with: labels int64 [B], or targets float32 [B, N].

    Raises:
        ConfigError: the dataset does not have them.
    """
    kind = truth_kind(loss, has_targets=batch.targets is not None)
    truth = batch.labels if kind == "classes" else batch.targets
    if truth is None:
        raise _unfit(loss)
    return truth


def count_outputs(loss: LossName, *, num_classes: int, num_targets: int) -> int:
    """How many outputs a model needs.

    Raises:
        ConfigError: the dataset has nothing for this loss.
    """
    kind = truth_kind(loss, has_targets=num_targets > 0)
    found = num_classes if kind == "classes" else num_targets
    if not found:
        raise _unfit(loss)
    return found


def _unfit(loss: LossName) -> ConfigError:
    if loss == "cross_entropy":
        return ConfigError(
            "loss='cross_entropy' needs class labels and this dataset has none; use mse, pair or "
            "softrank for targets, bce for targets of 0 and 1"
        )
    what = "class labels or targets" if loss == "bce" else "regression targets"
    cure = "pack it with labels" if loss == "bce" else "use loss='cross_entropy' for classes"
    return ConfigError(f"loss={loss!r} needs {what} and this dataset has none; {cure}")
