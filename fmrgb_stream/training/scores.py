"""Outcomes -> every metric of their kind, for all rows with a truth; and per class or target."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from fmrgb_stream.errors import ConfigError
from fmrgb_stream.training.metrics import (
    score_classes,
    score_labels,
    score_targets,
)
from fmrgb_stream.training.outcomes import Outcomes
from fmrgb_stream.training.records import Scores


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassRow:
    """How well one class is told; NaN where it divides by no clips."""

    name: str
    num_clips: int
    num_predicted: int
    precision: float
    recall: float
    f1: float
    most_mistaken_for: str
    """The class that most of its wrongly told clips were given to; empty without any."""


def score_outcomes(outcomes: Outcomes) -> Scores:
    """All metrics of the rows that have a truth.

    Raises:
        ConfigError: no row has one.
    """
    known = outcomes.rows(outcomes.has_truth)
    if not len(known):
        raise ConfigError(
            f"split {outcomes.split!r} has no labels or targets to compare with; "
            "use fmrgb predict, or pack the data with labels"
        )
    outputs = torch.from_numpy(known.outputs)
    if known.labels is not None:
        return score_classes(outputs, torch.from_numpy(known.labels))
    if known.targets is None:
        raise AssertionError("rows with a truth, but neither labels nor targets")
    targets = torch.from_numpy(known.targets)
    return (
        score_labels(outputs, targets)
        if known.kind == "labels"
        else score_targets(outputs, targets)
    )


def class_rows(confusion: tuple[tuple[int, ...], ...], names: tuple[str, ...]) -> list[ClassRow]:
    """Precision, recall and F1 of every class from a table of true (rows) by predicted (columns)."""
    table = np.asarray(confusion, dtype=np.int64)
    right, true, told = table.diagonal(), table.sum(1), table.sum(0)
    rows: list[ClassRow] = []
    for index, name in enumerate(names):
        wrong = np.where(np.arange(len(names)) == index, 0, table[index])
        rows.append(
            ClassRow(
                name=name,
                num_clips=int(true[index]),
                num_predicted=int(told[index]),
                precision=_share(right[index], told[index]),
                recall=_share(right[index], true[index]),
                f1=_share(2 * right[index], true[index] + told[index]),
                most_mistaken_for=names[int(wrong.argmax())] if wrong.any() else "",
            )
        )
    return rows


def _share(part: np.int64, whole: np.int64) -> float:
    return float(part / whole) if whole else float("nan")
