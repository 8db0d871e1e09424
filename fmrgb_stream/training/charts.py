"""Records of a run -> curves and scatter plots, as PNG files and as SVG that takes the page's colours.

In SVG the ink is `currentColor` and there is no background, so that one picture is readable on a light and
on a dark page.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fmrgb_stream.training.outcomes import Outcomes
    from fmrgb_stream.training.records import EpochRecord, StepRecord

Draw = Callable[[Any], None]
"""Draws on matplotlib axes, which carry no types."""
_INK: Final = "#102030"
"""Becomes `currentColor` in SVG; no plot uses it for anything else."""
_BLUE, _ORANGE, _GREEN = "#3584d6", "#e07b1a", "#1f9e72"
"""Told apart with any colour vision, and from white and black."""
_SETTINGS: Final[dict[Any, Any]] = {
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
    panels = _panels(history, steps)
    with mpl.rc_context(_SETTINGS):
        figure = Figure(figsize=(4.2 * len(panels), 3.2), dpi=130, layout="constrained")
        for place, draw in enumerate(panels):
            draw(figure.add_subplot(1, len(panels), place + 1))
        FigureCanvasAgg(figure).print_png(path)


def curves_svg(history: Sequence[EpochRecord], steps: Sequence[StepRecord] = ()) -> list[str]:
    """The same for a page, a picture each."""
    return [_svg(draw) for draw in _panels(history, steps)]


def scatter_svg(outcomes: Outcomes) -> list[str]:
    """Predicted by true value, a picture a target; none without targets that are known."""
    known = outcomes.rows(outcomes.has_truth)
    if known.kind != "targets" or known.targets is None or not len(known):
        return []
    columns = zip(known.names, known.targets.T, known.values.T, strict=True)
    return [_svg(partial(_draw_scatter, name=n, true_B=t, told_B=v)) for n, t, v in columns]


def _panels(history: Sequence[EpochRecord], steps: Sequence[StepRecord]) -> list[Draw]:
    """What there is to draw; a score that is never a number is not."""
    drawn: list[Draw] = [partial(_draw_losses, history=history, steps=steps)]
    if any(math.isfinite(record.val.score) for record in history):
        drawn.append(partial(_draw_scores, history=history))
    return [*drawn, partial(_draw_rates, history=history, steps=steps)]


def _draw_losses(axes: Any, *, history: Sequence[EpochRecord], steps: Sequence[StepRecord]) -> None:
    ends = np.array([record.epoch + 1 for record in history])
    if steps:
        shown = _thinned(steps)
        places = [_epoch_of(step, history) for step in shown]
        losses = [step.loss for step in shown]
        axes.plot(places, losses, color=_BLUE, alpha=0.35, linewidth=1, label="steps")
    train, val = [r.train_loss for r in history], [r.val.loss for r in history]
    # The mean of an epoch belongs to its middle, validation to its end.
    axes.plot(ends - 0.5, train, "o-", color=_BLUE, markersize=3.5, label="training")
    axes.plot(ends, val, "o-", color=_ORANGE, markersize=3.5, label="validation")
    axes.legend(frameon=False, fontsize=9)
    _finish(axes, "loss", along="epoch")


def _draw_scores(axes: Any, *, history: Sequence[EpochRecord]) -> None:
    places = [record.epoch + 1 for record in history]
    axes.plot(places, [r.val.score for r in history], "o-", color=_GREEN, markersize=3.5)
    _finish(axes, f"validation {history[0].val.score_name}", along="epoch")


def _draw_rates(axes: Any, *, history: Sequence[EpochRecord], steps: Sequence[StepRecord]) -> None:
    if steps:
        shown = _thinned(steps)
        places = [_epoch_of(step, history) for step in shown]
        axes.plot(places, [step.learning_rate for step in shown], "o-", color=_BLUE, markersize=1)
    else:
        places = [record.epoch + 1 for record in history]
        axes.plot(places, [r.learning_rate for r in history], "o-", color=_BLUE, markersize=3.5)
    axes.ticklabel_format(axis="y", style="sci", scilimits=(-2, 3))
    _finish(axes, "learning rate", along="epoch")


def _draw_scatter(
    axes: Any, *, name: str, true_B: NDArray[np.float32], told_B: NDArray[np.float32]
) -> None:
    low, high = min(true_B.min(), told_B.min()), max(true_B.max(), told_B.max())
    axes.plot([low, high], [low, high], color=_INK, alpha=0.4, linewidth=1, linestyle=":")
    axes.plot(true_B, told_B, ".", color=_BLUE, markersize=5, alpha=0.7)
    _finish(axes, name, along="true")
    axes.set_ylabel("predicted")


def _epoch_of(step: StepRecord, history: Sequence[EpochRecord]) -> float:
    """Epochs that are done after a step, as the epochs' own points count them."""
    ends = [record.step for record in history]
    if not ends or not ends[-1]:
        return step.epoch + 1
    return step.step / ends[-1] * (history[-1].epoch + 1)


def _thinned(steps: Sequence[StepRecord]) -> list[StepRecord]:
    places = np.linspace(0, len(steps) - 1, min(len(steps), _MOST_STEPS)).round().astype(int)
    return [steps[i] for i in places]


def _finish(axes: Any, title: str, *, along: Literal["epoch", "true"]) -> None:
    axes.set_title(title, fontsize=11)
    axes.set_xlabel(along)
    if along == "epoch":
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8, min_n_ticks=1))
    axes.grid(visible=True, alpha=0.15)
    axes.spines[["top", "right"]].set_visible(False)


def _svg(draw: Draw) -> str:
    """One plot as an element of a page, that grows and shrinks with it."""
    with mpl.rc_context(_SETTINGS):
        figure = Figure(figsize=(4.2, 3.2), layout="constrained")
        figure.patch.set_alpha(0)
        axes = figure.add_subplot()
        axes.patch.set_alpha(0)
        draw(axes)
        content = io.StringIO()
        FigureCanvasSVG(figure).print_svg(content, metadata={"Date": None})
    text = content.getvalue()
    head, body = text[text.index("<svg") :].split(">", 1)
    # Its size in points gives way to the width of the page.
    head = re.sub(r' (width|height)="[^"]*"', "", head)
    return f"{head}>{body}".replace(_INK, "currentColor")
