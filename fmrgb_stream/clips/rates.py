"""Frame times -> the constant rate they lie on, and which frame each place of a grid shows.

Pure maths on times in seconds. F source frames, K grid cells.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    FloatArray = NDArray[np.float64]
    IntArray = NDArray[np.int64]

_NTSC: Final = tuple(Fraction(n * 1000, 1001) for n in (24, 30, 60, 120))
STANDARD_RATES: Final = tuple(
    sorted([Fraction(n) for n in (1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 16, 18, 20, 24, 25, 30, 48, 50,
                                  60, 90, 100, 120)] + [Fraction(25, 2), *_NTSC])
)  # fmt: skip
"""Frames a second that cameras and containers use."""
MAX_RATE: Final = 1000
GRID_TOLERANCE_SECONDS: Final = 0.002
"""A variable-rate frame this near to a grid time counts as lying on it."""
_SAME_RATE: Final = Fraction(1005, 1000)
KEEP_TOLERANCE_SECONDS: Final = 0.0005
"""Frame times this near to k/fps need not be stored."""


def constant_rate(
    times: FloatArray, *, tick_seconds: float, announced: Iterable[Fraction | None]
) -> Fraction | None:
    """The exact rate of frames that are equally spaced up to the container's clock, or None.

    `announced` are the rates that the container names; they win over the standard rates, so that
    30000/1001 stays what it is under a clock of 1 ms. Times are float64 [F], increasing.
    """
    if len(times) < 2:
        return next((rate for rate in announced if is_sane(rate)), None)
    places = np.arange(len(times), dtype=np.float64)
    span = times - times[0]
    candidates = [rate for rate in announced if is_sane(rate)]
    candidates += [*STANDARD_RATES, *_exact_interval_rate(times, tick_seconds)]
    for rate in candidates:
        if rate is None:
            continue
        # Both ends of a difference are rounded to the clock, hence a whole tick; but where a tick
        # is as long as a frame (avi), one tick off is a dropped frame.
        tolerance = min(tick_seconds * 1.01 + 1e-7, 0.3 / float(rate))
        if float(np.abs(span - places / float(rate)).max()) <= tolerance:
            return rate
    return None


def _exact_interval_rate(times: FloatArray, tick_seconds: float) -> list[Fraction]:
    """The rate of frames whose intervals are one whole number of ticks, e.g. 90000/3337."""
    ticks = np.rint(np.diff(times) / tick_seconds).astype(np.int64)
    if ticks.min() != ticks.max() or ticks[0] <= 0:
        return []
    return [Fraction(1) / (int(ticks[0]) * Fraction(tick_seconds).limit_denominator(10_000_000))]


def grid_rate(times: FloatArray, *, announced: Iterable[Fraction | None] = ()) -> Fraction:
    """The constant rate that variable-rate frames are shown at.

    The lowest known rate, not below one over the median interval, on whose grid every frame lies
    within 2 ms (of 59.94 and 60, which short clips fit alike, the better one); when there is none,
    the standard rate nearest to one over the median interval.
    """
    if len(times) < 2:
        return next((r for r in announced if r is not None and is_sane(r)), Fraction(30))
    median_rate = 1 / float(np.median(np.diff(times)))
    known = sorted({*STANDARD_RATES, *(r for r in announced if r is not None and is_sane(r))})
    span = times - times[0]
    fitting: list[tuple[float, Fraction]] = []
    for rate in known:
        # 5 % below: a median of 33 ms (30.3/s) is a camera at 30/s.
        if float(rate) < 0.95 * median_rate:
            continue
        if fitting and rate > fitting[0][1] * _SAME_RATE:
            break
        off_grid = np.abs(span - np.rint(span * float(rate)) / float(rate))
        if float(off_grid.max()) <= GRID_TOLERANCE_SECONDS:
            fitting.append((float(off_grid.max()), rate))
    if fitting:
        return min(fitting)[1]
    return min(STANDARD_RATES, key=lambda rate: abs(float(rate) - median_rate))


def is_sane(rate: Fraction | None) -> bool:
    """Whether a container's rate can be a frame rate; some announce their clock instead."""
    return rate is not None and 0 < rate <= MAX_RATE


def frames_on_grid(times: FloatArray, *, fps: Fraction, num_cells: int) -> IntArray:
    """Which source frame each grid cell k (at k/fps) shows, int64 [K], never decreasing.

    `times` are float64 [F], increasing, the first one 0. A cell shows the frame nearest to it in
    time when one lies within half a cell, else it holds the last frame before it.
    """
    cells = np.arange(num_cells, dtype=np.float64) / float(fps)
    after = np.searchsorted(times, cells).clip(0, len(times) - 1)
    before = np.maximum(after - 1, 0)
    nearest = np.where(times[after] - cells < cells - times[before], after, before)
    # The tie goes to the earlier frame, but frame 0 has none before it and cells beyond the last
    # frame have none after.
    nearest = np.where(times[after] <= cells, after, nearest)
    half = 0.5 / float(fps)
    too_early = times[nearest] - cells > half
    return np.where(too_early, np.maximum(nearest - 1, 0), nearest).astype(np.int64)


def true_times(times: FloatArray, shown: IntArray, *, fps: Fraction) -> FloatArray | None:
    """When each grid cell's picture was taken, float64 [K] strictly increasing, or None if at k/fps.

    The first cell of a frame has the frame's own time, a repeat the time of its cell.
    """
    cells = np.arange(len(shown), dtype=np.float64) / float(fps)
    is_repeat = np.concatenate([[False], np.diff(shown) == 0])
    taken = np.where(is_repeat, cells, times[shown])
    if float(np.abs(taken - cells).max(initial=0.0)) <= KEEP_TOLERANCE_SECONDS:
        return None
    return taken


def segment_bounds(
    times: Sequence[float] | FloatArray, segment_seconds: float
) -> list[tuple[int, int]]:
    """Cut frames into segments: (first, one past last) source frames of each, no segment empty.

    Segment i takes the frames with time in [i S, (i+1) S) after the first one, so that no frame is
    lost and none stands twice.
    """
    span = np.asarray(times, dtype=np.float64)
    span = span - span[0]
    # A frame that a rounded clock puts a microsecond before the cut belongs after it.
    number = np.floor((span + 1e-6) / segment_seconds).astype(np.int64)
    starts = np.flatnonzero(np.diff(number, prepend=-1))
    ends = [*starts[1:], len(span)]
    return [(int(a), int(b)) for a, b in zip(starts, ends, strict=True)]
