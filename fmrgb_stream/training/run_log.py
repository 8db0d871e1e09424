"""A run directory -> what the run noted while it trained, and what lies beside it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

import numpy as np

from fmrgb_stream.training.metrics_file import read_metrics
from fmrgb_stream.training.records import EpochRecord, Evaluation, StepRecord
from fmrgb_stream.training.run_directory import RunDirectory

SEARCH_NAME: Final = "summary.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunLog:
    """What a run noted while it trained, and what lies beside it."""

    history: tuple[EpochRecord, ...]
    steps: tuple[StepRecord, ...]
    cross: Evaluation | None
    ablation: tuple[Mapping[str, Any], ...]
    search: Mapping[str, Any] | None
    """The learning-rate search that the run is one of."""

    @classmethod
    def read(cls, directory: RunDirectory) -> RunLog:
        """From metrics.jsonl, ablation.json, and the summary.json of the folder above."""
        path = directory.metrics_path
        records = read_metrics(path) if path.is_file() else []
        crossed = [r for event, r in records if event == "cross" and isinstance(r, Evaluation)]
        ablation = _json(directory.ablation_path)
        search = _search_in(directory.path.resolve().parent)
        name = directory.path.resolve().name
        is_part = search is not None and name in [run["run"] for run in search["runs"]]
        return cls(
            history=tuple(r for _, r in records if isinstance(r, EpochRecord)),
            steps=tuple(r for _, r in records if isinstance(r, StepRecord)),
            cross=crossed[-1] if crossed else None,
            ablation=tuple(ablation or ()),
            search=search if is_part else None,
        )

    def best_epoch(self, select_by: str) -> int:
        """The epoch whose weights were kept."""
        if not self.history:
            return 0
        worst = math.inf
        values = [
            record.val.loss if select_by == "loss" else -record.val.score for record in self.history
        ]
        return int(np.argmin([worst if math.isnan(value) else value for value in values]))


def _search_in(folder: Path) -> Mapping[str, Any] | None:
    """summary.json of a learning-rate search; a file of that name may be anybody's."""
    try:
        content = _json(folder / SEARCH_NAME)
    except (OSError, ValueError):
        return None
    if not isinstance(content, dict) or not {"runs", "best_lr"} <= content.keys():
        return None
    search = cast("dict[str, Any]", content)
    runs: Any = search["runs"]
    is_ours = isinstance(runs, list) and all(
        isinstance(run, dict) and "run" in run for run in cast("list[Any]", runs)
    )
    return search if is_ours else None


def _json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
