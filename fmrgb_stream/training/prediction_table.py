"""Outcomes -> tables with a row a clip (or a sample, or a group), as parquet and as csv.

| column | what |
|---|---|
| `split`, `key`, `group` | which sample |
| `window`, `start_seconds`, `end_seconds` | which part of it; `num_windows` in averages |
| `label`, `prediction`, `is_right` | class names; null without a label |
| `probability_<class>` | of each class, or of each label |
| `true_<target>`, `predicted_<target>` | numbers; 0 or 1 for labels |
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from fmrgb_stream.pipelines.label_columns import NO_LABEL
from fmrgb_stream.shards.writer import write_atomic
from fmrgb_stream.training.outcomes import Outcomes
from fmrgb_stream.training.window_average import AverageBy, average_windows

if TYPE_CHECKING:
    from numpy.typing import NDArray


def prediction_table(
    outcomes: Outcomes, *, num_windows: NDArray[np.int64] | None = None
) -> pa.Table:
    """One row a row of the outcomes.

    Args:
        outcomes: Of clips, or averaged.
        num_windows: int64 [B]: how many windows each row is the mean of; None for clips themselves.
    """
    columns: dict[str, Any] = {
        "split": [outcomes.split] * len(outcomes),
        "key": list(outcomes.keys),
        "group": list(outcomes.groups),
    }
    if num_windows is None:
        columns["window"] = outcomes.window_indices
    else:
        columns["num_windows"] = num_windows
    columns["start_seconds"] = outcomes.spans_seconds[:, 0]
    columns["end_seconds"] = outcomes.spans_seconds[:, 1]
    columns |= _class_columns(outcomes) if outcomes.kind == "classes" else _number_columns(outcomes)
    return pa.table(columns)


def write_predictions(folder: Path, name: str, tables: Sequence[pa.Table]) -> None:
    """`name`.parquet and `name`.csv of all tables below each other, each whole or absent."""
    whole = pa.concat_tables(tables)
    for suffix, write in ((".parquet", pq.write_table), (".csv", pyarrow.csv.write_csv)):
        content = io.BytesIO()
        write(whole, content)
        write_atomic(folder / (name + suffix), content.getvalue())


def write_outcomes(folder: Path, found: Sequence[Outcomes]) -> list[Path]:
    """All tables of some splits.

    `predictions` has a row a clip; where samples have several windows `predictions_by_key` has their
    averages, and where groups have several samples `predictions_by_group` those of the groups.

    Returns:
        The files that were written.
    """
    write_predictions(folder, "predictions", [prediction_table(outcomes) for outcomes in found])
    names = ["predictions"]
    has_windows = any(len(set(outcomes.keys)) < len(outcomes) for outcomes in found)
    has_groups = any(len(set(o.groups)) < len(set(o.keys)) for o in found)
    wanted: dict[AverageBy, bool] = {"key": has_windows, "group": has_groups}
    for by, is_wanted in wanted.items():
        if is_wanted:
            names.append(f"predictions_by_{by}")
            write_predictions(folder, names[-1], [averages_table(o, by=by) for o in found])
    return [folder / (name + suffix) for name in names for suffix in (".parquet", ".csv")]


def averages_table(outcomes: Outcomes, *, by: AverageBy) -> pa.Table:
    """A row a sample, or a row a group."""
    averaged, num_windows = average_windows(outcomes, by=by)
    table = prediction_table(averaged, num_windows=num_windows)
    # A group is no sample, and its times are those of several.
    return table if by == "key" else table.drop_columns(["key", "start_seconds", "end_seconds"])


def predicted_classes(outcomes: Outcomes) -> NDArray[np.int64]:
    """int64 [B]: the class with the highest probability, the first of equals."""
    return outcomes.outputs.argmax(axis=1)


def _class_columns(outcomes: Outcomes) -> dict[str, Any]:
    names = np.array(outcomes.names, dtype=object)
    chosen, labels = predicted_classes(outcomes), outcomes.labels
    unknown = np.full(len(outcomes), NO_LABEL) if labels is None else labels
    is_known = unknown != NO_LABEL
    columns: dict[str, Any] = {
        "label": pa.array(names[np.where(is_known, unknown, 0)], pa.string(), mask=~is_known),
        "prediction": pa.array(names[chosen], pa.string()),
        "is_right": pa.array(chosen == unknown, mask=~is_known),
    }
    return columns | _by_name("probability", outcomes.names, outcomes.values)


def _number_columns(outcomes: Outcomes) -> dict[str, Any]:
    columns: dict[str, Any] = {}
    if outcomes.targets is not None:
        columns = _by_name("true", outcomes.names, outcomes.targets)
    if outcomes.kind == "targets":
        return columns | _by_name("predicted", outcomes.names, outcomes.values)
    columns |= _by_name("predicted", outcomes.names, (outcomes.values > 0.5).astype(np.float32))
    return columns | _by_name("probability", outcomes.names, outcomes.values)


def _by_name(
    prefix: str, names: Sequence[str], values_BK: NDArray[np.float32]
) -> dict[str, pa.Array]:
    return {
        f"{prefix}_{name}": pa.array(column, mask=np.isnan(column))
        for name, column in zip(names, values_BK.T, strict=True)
    }
