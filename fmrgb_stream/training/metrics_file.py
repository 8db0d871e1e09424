"""Records <-> metrics.jsonl, one line each: `{"run": ..., "event": ..., ...}`.

Events are `step` (StepRecord), `epoch` (EpochRecord), `test` and `cross` (Evaluation). NaN and infinity, which
JSON does not have, are null.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final, Literal, cast

from fmrgb_stream.errors import ConfigError
from fmrgb_stream.training.metrics import ClassScores, LabelScores, TargetScores
from fmrgb_stream.training.records import (
    EpochRecord,
    Evaluation,
    Scores,
    StepProfile,
    StepRecord,
)

_SCORES: Final = ("scores", "by_sample")
Event = Literal["step", "epoch", "test", "cross"]
Record = StepRecord | EpochRecord | Evaluation


def plain_json(record: Any) -> dict[str, Any]:
    """A record as JSON values; NaN and infinity, which JSON does not have, become null."""
    return {name: _plain(value) for name, value in asdict(record).items()}


def read_metrics(path: Path, *, run: str | None = None) -> list[tuple[Event, Record]]:
    """The records of a metrics.jsonl, in order.

    Args:
        path: The file.
        run: Only those of the run with this name.

    Raises:
        ConfigError: a line is not one of ours.
    """
    try:
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        return [_record(line) for line in lines if run is None or line["run"] == run]
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{path} is not a metrics file: {error!r}") from error


class MetricsFile:
    """Written at once, line by line. Several runs may share one.

    The file is made anew at the first line, unless `keep_until` was called.
    """

    def __init__(self, path: Path) -> None:
        """Nothing is written yet."""
        self.path = path
        self._is_begun = False

    def keep_until(self, step: int) -> None:
        """Go on with a file that is there: lines after a step, or cut off by a kill, are dropped."""
        kept: list[str] = []
        if self.path.is_file():
            for line in self.path.read_text(encoding="utf-8").splitlines():
                if not _is_later(line, step):
                    kept.append(line + "\n")  # noqa: PERF401 - a comprehension would hide the rule
        aside = self.path.with_suffix(".part")
        aside.write_text("".join(kept), encoding="utf-8")
        aside.replace(self.path)
        self._is_begun = True

    def write(self, run: str, event: Event, record: Record) -> None:
        """Append one line."""
        self.write_all(run, event, [record])

    def write_all(self, run: str, event: Event, records: Iterable[Record]) -> None:
        """Append a line each."""
        lines = [
            json.dumps({"run": run, "event": event} | plain_json(record), allow_nan=False) + "\n"
            for record in records
        ]
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a" if self._is_begun else "w", encoding="utf-8") as stream:
            stream.write("".join(lines))
            stream.flush()
            os.fsync(stream.fileno())
        self._is_begun = True


def _is_later(line: str, step: int) -> bool:
    """Whether a line tells of what comes after a step; the end of a run does, as does half a line."""
    try:
        content = json.loads(line)
    except ValueError:
        return True
    return content.get("step", math.inf) > step


def _record(line: Mapping[str, Any]) -> tuple[Event, Record]:
    event: Event = line["event"]
    fields = {name: value for name, value in line.items() if name not in ("run", "event")}
    if event == "step":
        return event, StepRecord(**_nan(fields))
    if event == "epoch":
        fields["val"] = _evaluation(fields["val"])
        fields["profiles"] = tuple(StepProfile(**profile) for profile in fields["profiles"])
        return event, EpochRecord(**_nan(fields))
    return event, _evaluation(fields)


def _evaluation(fields: Mapping[str, Any]) -> Evaluation:
    values = _nan({name: value for name, value in fields.items() if name not in _SCORES})
    values |= {name: _scores(fields[name]) for name in _SCORES}
    return Evaluation(**values)


def _scores(fields: Mapping[str, Any] | None) -> Scores | None:
    if fields is None:
        return None
    values = _nan(fields)
    if "confusion" in fields:
        values["confusion"] = tuple(tuple(row) for row in fields["confusion"])
        return ClassScores(**values)
    if "mse" in fields:
        values["spearman_by_target"] = tuple(
            math.nan if value is None else value for value in fields["spearman_by_target"]
        )
        return TargetScores(**values)
    return LabelScores(**values)


def _nan(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Null stands for a number that JSON cannot write."""
    return {name: math.nan if value is None else value for name, value in fields.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {name: _plain(part) for name, part in cast("dict[str, Any]", value).items()}
    if isinstance(value, (list, tuple)):
        return [_plain(part) for part in cast("list[Any]", value)]
    return value
