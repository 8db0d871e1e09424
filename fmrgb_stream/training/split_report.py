"""Outcomes -> all scores of a split: of its clips, and of averages over windows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from rich.table import Table

from fmrgb_stream.config import TrainConfig
from fmrgb_stream.training.losses import make_loss
from fmrgb_stream.training.metrics import ClassScores, LabelScores, TargetScores
from fmrgb_stream.training.metrics_file import plain_json
from fmrgb_stream.training.outcomes import Outcomes
from fmrgb_stream.training.records import Scores
from fmrgb_stream.training.scores import ClassRow, class_rows, score_outcomes
from fmrgb_stream.training.window_average import average_windows

_MANY_CLASSES = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitReport:
    """How well a split is told."""

    split: str
    names: tuple[str, ...]
    """Of the outputs: classes, labels or targets."""
    loss_name: str
    loss: float
    """Over all clips with a truth."""
    clips: Scores
    samples: Scores | None
    """Windows averaged by key; None when a sample is one clip."""
    groups: Scores | None
    """Windows averaged by group; None when groups are samples, or have no truth of their own."""
    unreadable: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """Plain values; NaN becomes null."""
        return plain_json(self)


def report_split(outcomes: Outcomes, *, config: TrainConfig) -> SplitReport:
    """Score a split.

    Raises:
        ConfigError: it has no truth.
    """
    clips = score_outcomes(outcomes)
    known = outcomes.rows(outcomes.has_truth)
    truth = known.labels if known.labels is not None else known.targets
    loss = make_loss(config)(torch.from_numpy(known.outputs), torch.from_numpy(truth))
    has_windows = len(set(outcomes.keys)) < len(outcomes)
    return SplitReport(
        split=outcomes.split,
        names=outcomes.names,
        loss_name=config.loss,
        loss=float(loss),
        clips=clips,
        samples=score_outcomes(average_windows(outcomes, by="key")[0]) if has_windows else None,
        groups=_group_scores(outcomes),
        unreadable=outcomes.unreadable,
    )


def _group_scores(outcomes: Outcomes) -> Scores | None:
    averaged, _ = average_windows(outcomes, by="group")
    if len(averaged) == len(set(outcomes.keys)) or not averaged.has_truth.all():
        return None
    if outcomes.targets is not None and not _same_within_groups(outcomes):
        return None
    return score_outcomes(averaged)


def _same_within_groups(outcomes: Outcomes) -> bool:
    """Whether a group's samples agree in their targets, so that the group has them as a whole."""
    first: dict[str, Any] = {}
    rows = zip(
        outcomes.groups, outcomes.targets if outcomes.targets is not None else (), strict=True
    )
    return all(np.array_equal(first.setdefault(group, row), row) for group, row in rows)


def scores_table(report: SplitReport) -> Table:
    """Metrics down, clips and averages across, for `Console.print`."""
    parts = [("clips", report.clips), ("samples", report.samples), ("groups", report.groups)]
    there = [(name, scores) for name, scores in parts if scores is not None]
    table = Table(title=f"split {report.split}")
    table.add_column("")
    for name, _ in there:
        table.add_column(name, justify="right")
    columns = [dict(metric_values(scores, report.names)) for _, scores in there]
    for metric in columns[0]:
        table.add_row(metric, *(column[metric] for column in columns))
    table.add_row(f"loss ({report.loss_name})", f"{report.loss:.4f}", *[""] * (len(there) - 1))
    return table


def metric_values(scores: Scores, names: Sequence[str]) -> list[tuple[str, str]]:
    """Name and text of every number but the confusion table."""
    rows = [("number", str(scores.num_clips))]
    if isinstance(scores, ClassScores | LabelScores):
        rows.append(("accuracy", f"{scores.accuracy:.4f}"))
    if isinstance(scores, ClassScores):
        rows.append(("balanced accuracy", f"{scores.balanced_accuracy:.4f}"))
    if isinstance(scores, TargetScores):
        rows += [("mse", f"{scores.mse:.4g}"), ("mae", f"{scores.mae:.4g}")]
        rows.append(("spearman, mean", f"{scores.spearman:.4f}"))
        rows.append(("spearman, sum", f"{scores.spearman_of_sum:.4f}"))
        by_target = zip(names, scores.spearman_by_target, strict=True)
        return rows + [(f"spearman, {name}", f"{value:.4f}") for name, value in by_target]
    return [*rows, ("F1, macro", f"{scores.f1:.4f}")]


def confusion_table(report: SplitReport) -> Table | None:
    """Clips by true and predicted class; None for other outputs, or too many classes to read."""
    if not isinstance(report.clips, ClassScores) or len(report.names) > _MANY_CLASSES:
        return None
    table = Table(title="true class (row) by predicted class")
    table.add_column("")
    for index in range(len(report.names)):
        table.add_column(str(index), justify="right")
    for index, (name, row) in enumerate(zip(report.names, report.clips.confusion, strict=True)):
        cells = [f"[bold]{count}[/]" if i == index else str(count) for i, count in enumerate(row)]
        table.add_row(f"{index} {name}", *cells)
    return table


def classes_table(report: SplitReport) -> Table | None:
    """A row a class; None for other outputs."""
    if not isinstance(report.clips, ClassScores):
        return None
    table = Table()
    for name in ("class", "clips", "precision", "recall", "F1", "mostly mistaken for"):
        table.add_column(
            name, justify="left" if name in ("class", "mostly mistaken for") else "right"
        )
    for row in class_rows(report.clips.confusion, report.names):
        table.add_row(*class_cells(row))
    return table


def class_cells(row: ClassRow) -> tuple[str, ...]:
    """One class as text, a dash for what is not known."""
    numbers = [f"{x:.3f}" if x == x else "-" for x in (row.precision, row.recall, row.f1)]
    return (row.name, str(row.num_clips), *numbers, row.most_mistaken_for or "-")
