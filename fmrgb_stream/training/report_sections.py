"""Records of a run -> the sections of its page that say what was measured."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

from fmrgb_stream.training.html import Markup, element, folded, section, table, text
from fmrgb_stream.training.metrics import ClassScores
from fmrgb_stream.training.records import EpochRecord, StepProfile
from fmrgb_stream.training.scores import class_rows
from fmrgb_stream.training.split_report import SplitReport, class_cells, metric_values

_ROWS_OPEN: Final = 24
"""A longer table is folded away."""
_CONFUSED_CLASSES: Final = 40
"""With more classes the table of all pairs is too large to read; the table of classes stays."""
_PARTS: Final = (
    ("wait", "waiting for data"),
    ("copy", "host to device"),
    ("forward", "forward"),
    ("backward", "backward"),
    ("optimiser", "optimiser"),
    ("rest", "the rest"),
)


_SHORT: Final = ("wait", "to device", "forward", "backward", "optim.", "rest")


def tiles(values: Sequence[tuple[str, str]]) -> Markup:
    """The numbers that are looked for first: (name, value)."""
    shown = [element("div", element("b", value), element("span", name), class_="tile")
             for name, value in values]  # fmt: skip
    return element("div", *shown, class_="tiles")


def scores_section(report: SplitReport) -> Markup:
    """Every metric, of clips and of averages over windows."""
    parts = [("clips", report.clips), ("samples", report.samples), ("groups", report.groups)]
    there = [(name, scores) for name, scores in parts if scores is not None]
    columns = [dict(metric_values(scores, report.names)) for _, scores in there]
    rows = [(metric, *(column[metric] for column in columns)) for metric in columns[0]]
    rows.append((f"loss ({report.loss_name})", f"{report.loss:.4f}", *[""] * (len(there) - 1)))
    what = ""
    if len(there) > 1:
        what = "Samples and groups: the mean over all their windows, then scored."
    note = element("p", what, class_="quiet") if what else ""
    return section(
        f"Scores on {report.split}", table(["", *(name for name, _ in there)], rows), note
    )


def classes_section(report: SplitReport) -> Markup:
    """Confusion and a row a class; empty for other outputs."""
    if not isinstance(report.clips, ClassScores):
        return Markup("")
    headings = ("class", "clips", "precision", "recall", "F1", "mostly mistaken for")
    rows = [class_cells(row) for row in class_rows(report.clips.confusion, report.names)]
    by_class = table(headings, rows, text_columns=(0, len(headings) - 1))
    if len(rows) > _ROWS_OPEN:
        by_class = folded(f"{len(rows)} classes", by_class)
    return section("Classes", _confusion(report.clips.confusion, report.names), by_class)


def _confusion(counts: Sequence[Sequence[int]], names: Sequence[str]) -> Markup:
    if len(names) > _CONFUSED_CLASSES:
        return Markup("")
    head = [element("th", "true \\ predicted")]
    head += [element("th", i, class_="number", title=name) for i, name in enumerate(names)]
    rows: list[Markup] = [element("tr", *head)]
    for index, (name, row) in enumerate(zip(names, counts, strict=True)):
        total = max(1, sum(row))
        cells = [
            element("td", n or "·", class_="number", style=f"--share:{n / total:.3f}") for n in row
        ]
        rows.append(element("tr", element("td", f"{index} {name}"), *cells))
    return element("div", element("table", *rows, class_="confusion"), class_="scroll")


def profile_section(history: Sequence[EpochRecord]) -> Markup:
    """Where the training time went, an epoch and process; empty if it was not measured."""
    rows: list[Sequence[object]] = []
    for record in history:
        for profile in record.profiles:
            shares = _shares(profile)
            bar = element(
                "div",
                *(element("i", class_=name, style=f"width:{share:.2%}") for name, share in shares),
                class_="bar",
            )
            rows.append(
                (
                    bar,
                    record.epoch + 1,
                    profile.rank,
                    f"{profile.clips_per_second:.1f}",
                    *(f"{share:.1%}" for _, share in shares),
                )
            )
    if not rows:
        return Markup("")
    legend = element(
        "div",
        *(element("span", element("i", class_=name), label) for name, label in _PARTS),
        class_="legend",
    )
    headings = ["training time", "epoch", "process", "clips/s", *_SHORT]
    latest = max(record.epoch for record in history) + 1
    last = [row for row in rows if row[1] == latest]
    if len(rows) <= _ROWS_OPEN:
        return section("Step profile", legend, table(headings, rows))
    return section(
        "Step profile",
        legend,
        table(headings, last),
        folded(f"all {len(history)} epochs", table(headings, rows)),
    )


def _shares(profile: StepProfile) -> list[tuple[str, float]]:
    seconds = max(profile.seconds, 1e-9)
    measured = (
        profile.wait_seconds,
        profile.to_device_seconds,
        profile.forward_seconds,
        profile.backward_seconds,
        profile.optimiser_seconds,
    )
    shares = [part / seconds for part in measured]
    shares.append(max(0.0, 1 - sum(shares)))
    return [(name, share) for (name, _), share in zip(_PARTS, shares, strict=True)]


def epochs_table(history: Sequence[EpochRecord], best_epoch: int) -> Markup:
    """A row an epoch; the one that was kept is marked."""
    if not history:
        return Markup("")
    name = history[0].val.score_name
    headings = ("epoch", "train loss", "val loss", f"val {name}", "rate", "clips/s", "waiting", "s")
    rows = [
        (
            f"{record.epoch + 1}{' (kept)' if record.epoch == best_epoch else ''}",
            f"{record.train_loss:.4f}",
            f"{record.val.loss:.4f}",
            f"{record.val.score:.4f}",
            f"{record.learning_rate:.3g}",
            f"{record.clips_per_second:.1f}",
            f"{record.wait_share:.1%}",
            f"{record.seconds:.1f}",
        )
        for record in history
    ]
    return folded(f"{len(rows)} epochs as numbers", table(headings, rows))


def ablation_section(rows: Sequence[Mapping[str, Any]]) -> Markup:
    """What is left of the score without each kind of plane; empty without any."""
    if not rows:
        return Markup("")
    body = [
        (row["name"], ", ".join(row["channels"]), f"{_number(row['score']):.4f}",
         f"{_number(row['loss']):.4f}")
        for row in rows
    ]  # fmt: skip
    note = "The same weights; planes that are switched off hold nothing."
    headings = ("planes", "switched on", str(rows[0]["score_name"]), "loss")
    return section(
        "Ablation",
        table(headings, body, text_columns=(0, 1)),
        element("p", note, class_="quiet"),
    )


def rates_section(summary: Mapping[str, Any] | None, *, run: str) -> Markup:
    """The learning-rate search that the run is part of; empty without one."""
    if summary is None:
        return Markup("")
    rows: list[Sequence[object]] = []
    for found in summary["runs"]:
        if "val" not in found:
            rows.append((f"{found['lr']:g}", "diverged", "-", "-", "-", "-"))
            continue
        marks = [word for word, is_so in (("best", found["lr"] == summary["best_lr"]),
                                          ("this run", found["run"] == run)) if is_so]  # fmt: skip
        val, test = found["val"], found["test"]
        rows.append(
            (
                f"{found['lr']:g}",
                ", ".join(marks),
                found["best_epoch"] + 1,
                f"{_number(val['loss']):.4f}",
                f"{_number(val['score']):.4f}",
                "-" if test is None else f"{_number(test['score']):.4f}",
            )
        )
    names = [found["val"]["score_name"] for found in summary["runs"] if "val" in found]
    name = names[0] if names else "score"
    headings = ("learning rate", "", "best epoch", "val loss", f"val {name}", f"test {name}")
    return section("Learning-rate search", table(headings, rows, text_columns=(0, 1)))


def config_section(config_yaml: str) -> Markup:
    """All settings and versions, folded away."""
    return section(
        "Settings", folded("config.yaml", element("pre", text(config_yaml)), is_open=False)
    )


def _number(value: float | None) -> float:
    return math.nan if value is None else value
