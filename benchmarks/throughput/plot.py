"""Report -> one picture: clips a second of every contestant, a panel for each variant."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot as plt

from benchmarks.throughput.results import Entry, Report, Role, Variant, speed

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS: Final[dict[Role, str]] = {
    "ours": "#d1495b",
    "peer": "#7d98a1",
    "limit": "#2e4057",
    "floor": "#cccccc",
}
_INCHES_A_BAR, _INCHES_A_PANEL, _WIDTH_INCHES = 0.3, 1.0, 9.0


def draw(report: Report, path: Path) -> None:
    """Write the picture; bars are medians, whiskers reach from the slowest to the fastest round.

    The floor is left out: it is so far away that nothing else could be told apart.
    """
    shown = [(variant, _shown(variant)) for variant in report.variants]
    panels = [(variant, entries) for variant, entries in shown if entries]
    if not panels:
        return
    heights = [len(entries) * _INCHES_A_BAR + _INCHES_A_PANEL for _, entries in panels]
    figure, grid = plt.subplots(
        len(panels),
        1,
        figsize=(_WIDTH_INCHES, sum(heights)),
        height_ratios=heights,
        squeeze=False,
        layout="constrained",
    )
    for axes, (variant, entries) in zip(grid[:, 0], panels, strict=True):
        _panel(axes, variant, entries)
    grid[-1, 0].set_xlabel("clips a second (median; whiskers: slowest and fastest round)")
    where = report.environment
    figure.suptitle(f"{where['processor']}, {where['usable cores']} cores, {where['date']}")
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _shown(variant: Variant) -> list[Entry]:
    timed = [entry for entry in variant.entries if any(entry.rounds) and entry.role != "floor"]
    return sorted(timed, key=speed)


def _panel(axes: Axes, variant: Variant, entries: list[Entry]) -> None:
    names, medians = [entry.name for entry in entries], [speed(entry) for entry in entries]
    speeds = [[each.clips_per_second for each in e.rounds if each is not None] for e in entries]
    below = [median - min(each) for median, each in zip(medians, speeds, strict=True)]
    above = [max(each) - median for median, each in zip(medians, speeds, strict=True)]
    axes.barh(
        names,
        medians,
        xerr=[below, above],
        color=[COLOURS[entry.role] for entry in entries],
        ecolor="#444444",
        capsize=2,
    )
    widest = max(max(each) for each in speeds)
    for place, each in enumerate(speeds):
        axes.text(
            max(each) + 0.01 * widest, place, f"{medians[place]:.0f}", va="center", fontsize=8
        )
    axes.set_xlim(0, widest * 1.1)
    axes.set_title(variant.title, loc="left", fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)
