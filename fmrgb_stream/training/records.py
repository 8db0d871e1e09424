"""What a training run leaves behind: frozen records, and one JSON line an epoch."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, cast

ScoreName = Literal["accuracy", "spearman"]


def plain_json(record: Any) -> dict[str, Any]:
    """A record as JSON values; NaN and infinity, which JSON does not have, become null."""
    return {name: _plain(value) for name, value in asdict(record).items()}


def _plain(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {name: _plain(part) for name, part in cast("dict[str, Any]", value).items()}
    if isinstance(value, (list, tuple)):
        return [_plain(part) for part in cast("list[Any]", value)]
    return value


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """A model on a whole split, padding left out, all processes together."""

    loss: float
    score: float
    """Accuracy, or Spearman's correlation averaged over targets (NaN when one ranks nothing)."""
    score_name: ScoreName
    num_clips: int
    confusion: tuple[tuple[int, ...], ...] | None = None
    """Clips by true class (row) and predicted class (column); None for targets."""
    spearman_by_target: tuple[float, ...] | None = None
    """None for classes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochRecord:
    """One epoch of training and the validation after it."""

    epoch: int
    """From 0."""
    train_loss: float
    learning_rate: float
    """At the last step."""
    clips_per_second: float
    """All processes together, validation not counted."""
    wait_share: float
    """Part of the training time spent waiting for the loader, 0..1."""
    seconds: float
    """Training and validation."""
    val: Evaluation


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainResult:
    """A finished run; the model holds the weights of `best_epoch`."""

    history: tuple[EpochRecord, ...]
    best_epoch: int
    test: Evaluation | None
    """The best epoch's weights on the test split; None without one."""
    seconds: float
    num_parameters: int

    @property
    def best(self) -> EpochRecord:
        """The record of `best_epoch`."""
        return self.history[self.best_epoch]


class MetricsFile:
    """metrics.jsonl: one `{"run": ..., "event": "epoch" | "test", ...}` a line, written at once.

    Several runs may share one. The file is made anew at the first line.
    """

    def __init__(self, path: Path) -> None:
        """Nothing is written yet."""
        self.path = path
        self._is_begun = False

    def write(self, run: str, event: str, record: EpochRecord | Evaluation) -> None:
        """Append one line."""
        content = {"run": run, "event": event} | plain_json(record)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a" if self._is_begun else "w", encoding="utf-8") as stream:
            stream.write(json.dumps(content, allow_nan=False) + "\n")
        self._is_begun = True
