"""Labels and targets of a batch's clips -> tensors."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor

from fmrgb_stream.sample import ClipTask

NO_LABEL: Final = -100
"""Label of an unlabelled sample among labelled ones; torch's losses leave it out."""


def label_column(labels: Sequence[int | None]) -> Tensor:
    """int64 [B]; `NO_LABEL` for a sample without one."""
    values = [NO_LABEL if label is None else label for label in labels]
    return torch.tensor(values, dtype=torch.int64)


def target_column(targets: Sequence[tuple[float, ...] | None], num_targets: int) -> Tensor:
    """float32 [B, N]; NaN for a sample without targets."""
    missing = (math.nan,) * num_targets
    return torch.tensor([values or missing for values in targets], dtype=torch.float32)


def source_columns(tasks: Sequence[ClipTask]) -> dict[str, Tensor]:
    """`source_ids` and `source_passes` of a batch, int64 [B] each."""
    return {
        "source_ids": torch.tensor([task.source for task in tasks], dtype=torch.int64),
        "source_passes": torch.tensor([task.epoch for task in tasks], dtype=torch.int64),
    }
