"""A run directory -> its pictures, its predictions, and report.html: one page that needs nothing else."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

import numpy as np

from fmrgb_stream.channels import FLOW_PLANES, MEL, PICTURE_PLANES
from fmrgb_stream.shards.writer import write_atomic
from fmrgb_stream.training.charts import curves_svg, save_curves, scatter_svg
from fmrgb_stream.training.clip_pictures import clip_pictures, row_names
from fmrgb_stream.training.figures import draw_confusion
from fmrgb_stream.training.html import Markup, element, image, page, section
from fmrgb_stream.training.metrics import ClassScores, TargetScores
from fmrgb_stream.training.metrics_file import plain_json, read_metrics
from fmrgb_stream.training.prediction_table import write_outcomes
from fmrgb_stream.training.records import EpochRecord, Evaluation, StepRecord
from fmrgb_stream.training.report_sections import (
    ablation_section,
    classes_section,
    config_section,
    epochs_table,
    profile_section,
    rates_section,
    scores_section,
    tiles,
)
from fmrgb_stream.training.split_report import SplitReport, report_split

if TYPE_CHECKING:
    from fmrgb_stream.training.outcomes import Outcomes
    from fmrgb_stream.training.run_directory import RunDirectory
    from fmrgb_stream.training.shown import ClipProgress
    from fmrgb_stream.training.trained import Trained

ABLATION_NAME: Final = "ablation.json"
SEARCH_NAME: Final = "summary.json"


def write_report(
    trained: Trained,
    *,
    split: str | None = None,
    num_clips: int = 6,
    with_ablation: bool = False,
    progress: ClipProgress | None = None,
) -> SplitReport:
    """Evaluate the run's weights once more and write everything but the training itself.

    `curves.png`, `confusion.png`, `predictions.parquet` and `.csv`, `ablation.json` if asked for, and
    `report.html`. Call it in every process; the first one writes.

    Args:
        trained: Of the run's own dataset.
        split: Which; None is the run's test split, or its validation split without one.
        num_clips: Of the best and of the worst clips that are pictured.
        with_ablation: Also evaluate with each kind of plane switched off.
        progress: Told by the first process.

    Raises:
        ConfigError: the split has no truth.
    """
    data = trained.shown.config.data
    chosen = split or data.test_split or data.val_split
    outcomes = trained.outcomes(chosen, progress=progress)
    report = report_split(outcomes, config=trained.shown.config.train)
    rows = _ablation(trained, chosen, report, progress) if with_ablation else None
    if trained.shown.accelerator.is_main_process:
        directory = trained.run.directory
        if rows is not None:
            text = json.dumps(rows, indent=2, allow_nan=False) + "\n"
            write_atomic(directory.path / ABLATION_NAME, text.encode())
        log = RunLog.read(directory)
        if log.history:
            save_curves(directory.curves_path, log.history, log.steps)
        if isinstance(report.clips, ClassScores):
            draw_confusion(
                directory.confusion_path, report.clips.confusion, names=report.names, title=chosen
            )
        write_outcomes(directory.path, [outcomes])
        text = _page(trained, outcomes, report, log, num_clips=num_clips)
        write_atomic(directory.report_path, text.encode())
    trained.shown.accelerator.wait_for_everyone()
    return report


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
        ablation = _json(directory.path / ABLATION_NAME)
        search = _json(directory.path.resolve().parent / SEARCH_NAME)
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


def _json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def _ablation(
    trained: Trained, split: str, full: SplitReport, progress: ClipProgress | None
) -> list[dict[str, Any]]:
    """One row with all planes, and one without each kind that the clip has."""
    planes, train = trained.shown.clip.planes, trained.shown.config.train
    rows = [_ablation_row("all", planes, full)]
    kinds = {"without the picture": PICTURE_PLANES, "without flow": FLOW_PLANES,
             "without mel": (MEL,)}  # fmt: skip
    for name, kind in kinds.items():
        off = tuple(plane for plane in planes if plane in kind)
        if off and len(off) < len(planes):
            outcomes = replace(trained, switched_off=off).outcomes(split, progress=progress)
            on = tuple(plane for plane in planes if plane not in off)
            rows.append(_ablation_row(name, on, report_split(outcomes, config=train)))
    return rows


def _ablation_row(name: str, channels: Sequence[str], report: SplitReport) -> dict[str, Any]:
    score_name, value = main_score(report)
    clips = plain_json(report.clips)
    return {
        "name": name,
        "channels": list(channels),
        "score_name": score_name,
        "score": None if math.isnan(value) else value,
        "loss": None if math.isnan(report.loss) else report.loss,
        "clips": clips,
    }


def main_score(report: SplitReport) -> tuple[str, float]:
    """Name and value of the number that sums a split up."""
    scores = report.clips
    if isinstance(scores, TargetScores):
        return "spearman", scores.spearman
    return "accuracy", scores.accuracy


def _page(
    trained: Trained, outcomes: Outcomes, report: SplitReport, log: RunLog, *, num_clips: int
) -> str:
    run, config = trained.run, trained.shown.config
    name = run.directory.path.resolve().name
    best = log.best_epoch(config.train.select_by)
    versions = ", ".join(f"{library} {number}" for library, number in run.facts.versions.items())
    curves = ""
    if log.history:
        curves = element("figure", *map(Markup, curves_svg(log.history, log.steps)))
        curves += epochs_table(log.history, best)
    scatter = scatter_svg(outcomes)
    return page(
        f"{name}: {config.model.name}",
        element("h1", name),
        element("p", f"{config.model.name} on {config.data.root}", class_="quiet"),
        _headline(trained, report, log, best),
        section("Training", Markup(curves)),
        scores_section(report),
        _cross_section(log.cross),
        classes_section(report),
        section("Targets", element("figure", *map(Markup, scatter)) if scatter else ""),
        ablation_section(log.ablation),
        rates_section(log.search, run=name),
        _clips_section(trained, outcomes, num_clips=num_clips),
        profile_section(log.history),
        config_section(run.directory.config_path.read_text(encoding="utf-8")),
        element("p", versions, class_="quiet"),
    )


def _headline(trained: Trained, report: SplitReport, log: RunLog, best: int) -> Markup:
    name, value = main_score(report)
    shown = [
        (f"{report.split} {name}", f"{value:.3f}"),
        (f"{report.split} loss", f"{report.loss:.3f}"),
    ]
    shown.append((f"{report.split} clips", str(report.clips.num_clips)))
    if log.history:
        kept = log.history[best]
        speed = sum(record.clips_per_second for record in log.history) / len(log.history)
        waiting = sum(record.wait_share for record in log.history) / len(log.history)
        shown.append((f"val {kept.val.score_name}", f"{kept.val.score:.3f}"))
        shown.append(("epoch kept", f"{best + 1} of {len(log.history)}"))
        shown.append(("clips/s in training", f"{speed:.0f}"))
        shown.append(("waiting for data", f"{waiting:.1%}"))
    num_parameters = sum(p.numel() for p in trained.model.parameters())
    shown.append(("parameters", f"{num_parameters / 1e6:.2f} M"))
    return tiles(shown)


def _cross_section(cross: Evaluation | None) -> Markup:
    if cross is None:
        return Markup("")
    told = (
        f"The same weights on the modality that they were not trained on: {cross.score_name} "
        f"{cross.score:.4f}, loss {cross.loss:.4f}, {cross.num_clips} clips."
    )
    return section("Cross", element("p", told))


def _clips_section(trained: Trained, outcomes: Outcomes, *, num_clips: int) -> Markup:
    known = outcomes.rows(outcomes.has_truth)
    errors = _errors(known)
    order = np.argsort(errors, kind="stable")
    count = min(num_clips, len(order) // 2 or len(order))
    parts: list[Markup] = []
    for title, chosen in (("Worst", order[::-1][:count]), ("Best", order[:count])):
        rows = known.rows(chosen)
        if not len(rows):
            continue
        cards = [
            element(
                "div",
                image(jpeg, alt=f"frames of {rows.keys[i]}"),
                element("p", *_told(rows, i)),
                element("p", _where(rows, i), class_="quiet"),
                class_="clip",
            )
            for i, jpeg in enumerate(clip_pictures(trained.shown, rows))
        ]
        parts += [element("h3", title), element("div", *cards, class_="clips")]
    seen = ", ".join(row_names(trained.shown.clip.planes))
    note = element("p", f"Time goes to the right; from top to bottom: {seen}.", class_="quiet")
    return section(f"Clips of {outcomes.split}", *parts, note if parts else "")


def _errors(known: Outcomes) -> np.ndarray[Any, np.dtype[np.float64]]:
    """float64 [B]: how far off each row is."""
    if known.labels is not None:
        told = known.values[np.arange(len(known)), known.labels]
        return 1.0 - told.astype(np.float64)
    targets = cast("np.ndarray[Any, np.dtype[np.float32]]", known.targets)
    return np.square(known.values - targets, dtype=np.float64).mean(axis=1)


def _told(rows: Outcomes, index: int) -> list[Markup]:
    if rows.labels is not None:
        label, chosen = int(rows.labels[index]), int(rows.outputs[index].argmax())
        share = float(rows.values[index, label])
        if label == chosen:
            return [element("span", f"{rows.names[label]} ({share:.0%})", class_="good")]
        wrong = f"{rows.names[chosen]} ({float(rows.values[index, chosen]):.0%})"
        right = f" instead of {rows.names[label]} ({share:.0%})"
        return [element("span", wrong, class_="bad"), element("span", right)]
    targets = cast("np.ndarray[Any, np.dtype[np.float32]]", rows.targets)
    pairs = zip(rows.names, rows.values[index], targets[index], strict=True)
    return [element("span", "; ".join(f"{n} {told:.3g}, true {t:.3g}" for n, told, t in pairs))]


def _where(rows: Outcomes, index: int) -> str:
    start, end = rows.spans_seconds[index]
    return f"{rows.keys[index]}, {start:.2f} to {end:.2f} s"
