"""Outcomes of many windows -> one row a sample (key) or a group (song, actor): the mean of its windows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from fmrgb_stream.pipelines.label_columns import NO_LABEL
from fmrgb_stream.training.outcomes import Outcomes

if TYPE_CHECKING:
    from numpy.typing import NDArray

AverageBy = Literal["key", "group"]


def average_windows(outcomes: Outcomes, *, by: AverageBy) -> tuple[Outcomes, NDArray[np.int64]]:
    """One row for each key, or for each group, and how many windows it has, int64 [G].

    Values are averaged, not logits: the mean probability, or the mean number (S4's song score). The
    result's outputs are such that its values are those means. Truth is that of the windows where all
    agree; a group with several labels has none, and targets are averaged.

    Rows come in the order of each name's first window.
    """
    names = outcomes.keys if by == "key" else outcomes.groups
    first_row, place = _first_seen(names)
    num_windows = np.bincount(place, minlength=len(first_row))
    means = _means(outcomes.values, place, num_windows)
    starts = np.full(len(first_row), np.inf)
    ends = np.full(len(first_row), -np.inf)
    np.minimum.at(starts, place, outcomes.spans_seconds[:, 0])
    np.maximum.at(ends, place, outcomes.spans_seconds[:, 1])
    averaged = replace(
        outcomes,
        keys=tuple(names[i] for i in first_row),
        groups=tuple(outcomes.groups[i] for i in first_row),
        sample_ids=outcomes.sample_ids[first_row],
        window_indices=np.zeros(len(first_row), dtype=np.int64),
        spans_seconds=np.stack([starts, ends], axis=1),
        outputs=_outputs_of(means, outcomes),
        labels=None if outcomes.labels is None else _common_label(outcomes.labels, place),
        targets=None
        if outcomes.targets is None
        else _means(outcomes.targets, place, num_windows).astype(np.float32),
    )
    return averaged, num_windows


def _first_seen(names: Sequence[str]) -> tuple[list[int], NDArray[np.int64]]:
    """The first row of each name, and int64 [B]: which of the names each row has."""
    places: dict[str, int] = {}
    first_rows: list[int] = []
    for row, name in enumerate(names):
        if name not in places:
            places[name] = len(places)
            first_rows.append(row)
    return first_rows, np.array([places[name] for name in names], dtype=np.int64)


def _means(
    values: NDArray[np.float32], place: NDArray[np.int64], counts: NDArray[np.int64]
) -> NDArray[np.float64]:
    sums = np.zeros((len(counts), values.shape[1]))
    np.add.at(sums, place, values)
    return sums / counts[:, None]


def _outputs_of(means: NDArray[np.float64], outcomes: Outcomes) -> NDArray[np.float32]:
    """Logits whose probabilities are `means`; numbers as they are."""
    if outcomes.activation == "none":
        return means.astype(np.float32)
    smallest = np.finfo(np.float32).tiny
    logits = np.log(np.maximum(means, smallest))
    if outcomes.activation == "sigmoid":
        logits = logits - np.log(np.maximum(1 - means, smallest))
    return logits.astype(np.float32)


def _common_label(labels: NDArray[np.int64], place: NDArray[np.int64]) -> NDArray[np.int64]:
    lowest = np.full(place.max(initial=-1) + 1, np.iinfo(np.int64).max)
    highest = np.full_like(lowest, np.iinfo(np.int64).min)
    np.minimum.at(lowest, place, labels)
    np.maximum.at(highest, place, labels)
    return np.where(lowest == highest, lowest, NO_LABEL)
