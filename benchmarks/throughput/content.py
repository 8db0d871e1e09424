"""A contestant's clips against the reference: who makes other clips is not timed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from benchmarks.throughput.contract import BenchBatch, BenchClip
from benchmarks.throughput.reference import ReferenceClip, References
from benchmarks.throughput.results import Content, Role

if TYPE_CHECKING:
    from numpy.typing import NDArray

FLOW_PLANE, MEL_PLANE = 3, -1
MOVING_LEVELS: Final = 5.0
"""Grey levels of the reference's flow, on average, from which on its shape is compared: a third of
a pixel. Below it estimators do not even agree with themselves: on real clips that hardly move DIS
ultrafast and DIS medium correlate by 0.4, and so would two good contestants."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tolerances:
    """What may differ at most: mean absolute grey levels, and the least correlation."""

    rgb: float
    rgb_worst: float
    """Of any single clip."""
    flow: float
    flow_correlation: float
    mel: float


PARITY: Final = Tolerances(rgb=2.0, rgb_worst=3.0, flow=8.0, flow_correlation=0.9, mel=1.0)
"""For ours and the limit: the project's own parity tolerances. The flow may be estimated on a
smaller picture than the reference's, so its shape counts more than its level."""
OWN_RESIZE: Final = Tolerances(rgb=8.0, rgb_worst=16.0, flow=8.0, flow_correlation=0.7, mel=3.0)
"""For peers, each of which has its own resize filter, and some their own encoding of the data."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Difference:
    """One clip's."""

    rgb_by_offset: tuple[float, float, float]
    flow: float | None
    flow_correlation: float | None
    """None where the reference hardly moves, too."""
    mel: float | None


def compare(
    batches: Iterable[BenchBatch], reference: Path, clip: BenchClip, *, role: Role
) -> Content:
    """Take batches until every sample came once, and hold them against the reference.

    Of the limit only the pictures count: it makes no other plane.
    """
    references = References(reference)
    waiting, found = set(references.keys), list[_Difference]()
    strange: set[str] = set()
    for batch in batches:
        for key, clip_CTHW in zip(batch.keys, batch.clip_BCTHW, strict=True):
            if key in waiting:
                waiting.remove(key)
                expected = (clip.num_planes, clip.num_frames, *clip.size)
                if clip_CTHW.shape != expected:
                    return _nothing(f"clips are {clip_CTHW.shape}, they must be {expected}")
                found.append(
                    _difference(clip_CTHW, references[key], clip, only_rgb=role == "limit")
                )
            elif key not in references.keys:
                strange.add(key)
        if not waiting:
            break
    if strange or waiting:
        kind, keys = ("unknown", strange) if strange else ("missing", waiting)
        return _nothing(f"{len(keys)} keys are {kind}, such as {min(keys)!r}")
    return _judged(found, PARITY if role in ("ours", "limit") else OWN_RESIZE)


def _nothing(problem: str) -> Content:
    return Content(
        num_clips=0,
        rgb=0.0,
        rgb_worst=0.0,
        rgb_by_offset=(0.0, 0.0, 0.0),
        flow=None,
        flow_correlation=None,
        mel=None,
        problem=problem,
    )


def _difference(
    clip_CTHW: NDArray[np.uint8], reference: ReferenceClip, clip: BenchClip, *, only_rgb: bool
) -> _Difference:
    rgb_CTHW, expected_CTHW = clip_CTHW[:3], reference.clip_CTHW
    offsets = (reference.early_CTHW, expected_CTHW[:3], reference.late_CTHW)
    early, in_time, late = (_mean_absolute(rgb_CTHW, each) for each in offsets)
    flow = flow_correlation = mel = None
    if clip.planes == "fmrgb" and not only_rgb:
        ours, theirs = clip_CTHW[FLOW_PLANE], expected_CTHW[FLOW_PLANE]
        flow = _mean_absolute(ours, theirs)
        if theirs.mean() >= MOVING_LEVELS:
            flow_correlation = _correlation(ours, theirs)
    if clip.planes != "rgb" and not only_rgb:
        mel = _mean_absolute(clip_CTHW[MEL_PLANE], expected_CTHW[MEL_PLANE])
    return _Difference(
        rgb_by_offset=(early, in_time, late),
        flow=flow,
        flow_correlation=flow_correlation,
        mel=mel,
    )


def _mean_absolute(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    return float(np.abs(a.astype(np.int16) - b).mean())


def _correlation(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    """Pearson's; 0 where one of the two does not vary."""
    a_N, b_N = a.astype(np.float64).ravel(), b.astype(np.float64).ravel()
    a_N, b_N = a_N - a_N.mean(), b_N - b_N.mean()
    scale = float(np.sqrt((a_N @ a_N) * (b_N @ b_N)))
    return float(a_N @ b_N) / scale if scale else 0.0


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def _judged(found: list[_Difference], allowed: Tolerances) -> Content:
    early, in_time, late = np.mean([each.rgb_by_offset for each in found], axis=0).tolist()
    worst = max(each.rgb_by_offset[1] for each in found)
    flow = _mean(each.flow for each in found)
    correlation = _mean(each.flow_correlation for each in found)
    mel = _mean(each.mel for each in found)
    complaints = {
        f"the pictures are shifted in time (difference one frame early {early:.1f}, in time "
        f"{in_time:.1f}, one late {late:.1f})": in_time > min(early, late),
        f"rgb differs by {in_time:.1f} grey levels, allowed {allowed.rgb}": in_time > allowed.rgb,
        f"rgb of one clip differs by {worst:.1f} grey levels, allowed {allowed.rgb_worst}": (
            worst > allowed.rgb_worst
        ),
        f"flow differs by {flow} grey levels, allowed {allowed.flow}": (flow or 0) > allowed.flow,
        f"flow correlates by {correlation}, least {allowed.flow_correlation}": (
            correlation is not None and correlation < allowed.flow_correlation
        ),
        f"mel differs by {mel} grey levels, allowed {allowed.mel}": (mel or 0) > allowed.mel,
    }
    return Content(
        num_clips=len(found),
        rgb=in_time,
        rgb_worst=worst,
        rgb_by_offset=(early, in_time, late),
        flow=flow,
        flow_correlation=correlation,
        mel=mel,
        problem="; ".join(text for text, is_true in complaints.items() if is_true),
    )
