"""Records of a run -> curves and scatter plots, as PNG files and as SVG that takes the page's colours.

In SVG the ink is `currentColor` and there is no background, so that one picture is readable on a light and
on a dark page.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

if TYPE_CHECKING:
    from fmrgb_stream.training.outcomes import Outcomes
    from fmrgb_stream.training.records import EpochRecord, StepRecord

_INK: Final = "#102030"
"""Becomes `currentColor` in SVG; no plot uses it for anything else."""
_BLUE, _ORANGE, _GREEN = "#3584d6", "#e07b1a", "#1f9e72"
"""Told apart with any colour vision, and from white and black."""
_SETTINGS: Final = {
    "svg.fonttype": "none", "svg.hashsalt": "fmrgb_stream", "font.size": 10,
    "text.color": _INK, "axes.edgecolor": _INK, "axes.labelcolor": _INK,
    "xtick.color": _INK, "ytick.color": _INK, "grid.color": _INK,
}  # fmt: skip
_MOST_STEPS: Final = 2000
"""Points of the step curve; more would only make the file large."""


def save_curves(
    path: Path, history: Sequence[EpochRecord], steps: Sequence[StepRecord] = ()
) -> None:
    """curves.png: loss, validation score and learning rate of a run."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context(_SETTINGS):
        figure = _curves(history, steps)
        figure.set_dpi(130)
        FigureCanvasAgg(figure).print_png(path)


def curves_svg(history: Sequence[EpochRecord], steps: Sequence[StepRecord] = ()) -> str:
    """The same for a page."""
    with mpl.rc_context(_SETTINGS):
        return _svg(_curves(history, steps))


def scatter_svg(outcomes: Outcomes) -> str:
    """Predicted by true value, a plot a target; rows without truth are left out.

    Empty when there are no targets, or none that are known.
    """
    known = outcomes.rows(outcomes.has_truth)
    if known.targets is None or not len(known):
        return ""
    columns = min(len(known.names), 3)
    rows = -(-len(known.names) // columns)
    with mpl.rc_context(_SETTINGS):
        figure = Figure(figsize=(3.6 * columns, 3.3 * rows), layout="constrained")
        for place, name in enumerate(known.names):
            axes: Any = figure.add_subplot(rows, columns, place + 1)
            true, told = known.targets[:, place], known.values[:, place]
            low, high = min(true.min(), told.min()), max(true.max(), told.max())
            axes.plot([low, high], [low, high], color=_INK, alpha=0.4, linewidth=1, linestyle=":")
            axes.plot(true, told, ".", color=_BLUE, markersize=5, alpha=0.7)
            axes.set_title(name, fontsize=11)
            axes.set_xlabel("true")
            axes.set_ylabel("predicted")
            _plain_axes(axes)
        return _svg(figure)


def _curves(history: Sequence[EpochRecord], steps: Sequence[StepRecord]) -> Figure:
    has_score = any(math.isfinite(record.val.score) for record in history)
    num_panels = 3 if has_score else 2
    figure = Figure(figsize=(4.2 * num_panels, 3.2), layout="constrained")
    panels: list[Any] = [figure.add_subplot(1, num_panels, i + 1) for i in range(num_panels)]
    epochs = [record.epoch + 1 for record in history]
    _draw_losses(panels[0], history, steps)
    if has_score:
        scores, axes = [record.val.score for record in history], panels[1]
        axes.plot(epochs, scores, "o-", color=_GREEN, markersize=3.5)
        axes.set_title(f"validation {history[0].val.score_name}", fontsize=11)
    rates = panels[-1]
    if steps:
        shown = _thinned(steps)
        places = [_epoch_of(step, history) for step in shown]
        rates.plot(places, [step.learning_rate for step in shown], color=_BLUE)
    else:
        rates.plot(epochs, [r.learning_rate for r in history], "o-", color=_BLUE, markersize=3.5)
    rates.set_title("learning rate", fontsize=11)
    rates.ticklabel_format(axis="y", style="sci", scilimits=(-2, 3))
    for axes in panels:
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8))
        _plain_axes(axes)
    return figure


def _draw_losses(axes: Any, history: Sequence[EpochRecord], steps: Sequence[StepRecord]) -> None:
    epochs = [record.epoch + 1 for record in history]
    if steps:
        shown = _thinned(steps)
        places = [_epoch_of(step, history) for step in shown]
        losses = [step.loss for step in shown]
        axes.plot(places, losses, color=_BLUE, alpha=0.35, linewidth=1, label="steps")
    train, val = [r.train_loss for r in history], [r.val.loss for r in history]
    axes.plot(epochs, train, "o-", color=_BLUE, markersize=3.5, label="training")
    axes.plot(epochs, val, "o-", color=_ORANGE, markersize=3.5, label="validation")
    axes.set_title("loss", fontsize=11)
    axes.legend(frameon=False, fontsize=9)


def _epoch_of(step: StepRecord, history: Sequence[EpochRecord]) -> float:
    """Epochs that are done after a step, as the epochs' own points count them."""
    ends = [record.step for record in history]
    if not ends or not ends[-1]:
        return step.epoch + 1
    return step.step / ends[-1] * (history[-1].epoch + 1)


def _thinned(steps: Sequence[StepRecord]) -> list[StepRecord]:
    places = np.linspace(0, len(steps) - 1, min(len(steps), _MOST_STEPS)).round().astype(int)
    return [steps[i] for i in places]


def _plain_axes(axes: Any) -> None:
    axes.grid(visible=True, alpha=0.15)
    axes.spines[["top", "right"]].set_visible(False)


def _svg(figure: Figure) -> str:
    """The figure as an element of a page, that grows and shrinks with it."""
    figure.patch.set_alpha(0)
    for axes in figure.axes:
        axes.patch.set_alpha(0)
    content = io.StringIO()
    FigureCanvasSVG(figure).print_svg(content, metadata={"Date": None})
    text = content.getvalue()
    text = text[text.index("<svg") :].replace(_INK, "currentColor")
    # The size in points gives way to the width of the page.
    return re.sub(
        r'(<svg[^>]*?) width="[^"]*"',
        r"\1",
        re.sub(r' height="[\d.]+pt"', "", text, count=1),
        count=1,
    )
