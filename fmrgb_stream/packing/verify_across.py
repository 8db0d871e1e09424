"""Facts of all samples -> what no sample can tell alone: leaks between splits, odd ones out."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from fmrgb_stream.packing.findings import Notes, Place
from fmrgb_stream.packing.looks import alike

if TYPE_CHECKING:
    from fmrgb_stream.packing.verify_media import MediaFacts

_MIN_FOR_OUTLIERS: Final = 8
"""Samples from which a median means something."""
_OUTLIER_DECIBELS: Final = 20.0
_OUTLIER_SPREADS: Final = 5.0
_SPREAD_OF_NORMAL: Final = 1.4826
"""Standard deviation over median absolute deviation of a normal distribution."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleFacts:
    """What one sample says in the comparison with others."""

    place: Place
    split: str
    group: str
    media: MediaFacts


def check_across(samples: Sequence[SampleFacts], notes: Notes) -> None:
    """Compare all samples of a dataset; they come in its order."""
    _check_keys(samples, notes)
    _check_groups(samples, notes)
    _check_equal_bytes(_without_errors(samples, notes), notes)
    _check_looks(_without_errors(samples, notes), notes)
    _check_loudness(samples, notes)


def _without_errors(samples: Iterable[SampleFacts], notes: Notes) -> list[SampleFacts]:
    """A repair drops what has an error; what is like it must stay, or both would go."""
    bad = {(f.path, f.row) for f in notes.findings if f.severity == "error"}
    return [one for one in samples if (one.place.path, one.place.row) not in bad]


def _check_keys(samples: Iterable[SampleFacts], notes: Notes) -> None:
    keys: dict[str, str] = {}
    for sample in samples:
        place = sample.place
        if place.key in keys:
            notes.error("key", place, f"the same key stands in {keys[place.key]}")
        else:
            keys[place.key] = place.path


def _check_groups(samples: Iterable[SampleFacts], notes: Notes) -> None:
    """A group belongs to the split that has most of it, to the first of two with as many."""
    groups: dict[str, dict[str, list[SampleFacts]]] = defaultdict(lambda: defaultdict(list))
    for sample in samples:
        groups[sample.group][sample.split].append(sample)
    for group, splits in sorted(groups.items()):
        if len(splits) < 2:
            continue
        home = max(splits, key=lambda split: len(splits[split]))
        for split, strays in splits.items():
            if split == home:
                continue
            for stray in strays:
                notes.error(
                    "group-leak",
                    stray.place,
                    f"group {group!r} stands in the splits {', '.join(sorted(splits))}; "
                    f"most of it in {home}",
                )


def _check_equal_bytes(samples: Sequence[SampleFacts], notes: Notes) -> None:
    sizes = Counter(sample.split for sample in samples)
    same: dict[str, list[SampleFacts]] = defaultdict(list)
    for sample in samples:
        if sample.media.content_id:
            same[sample.media.content_id].append(sample)
    for copies in same.values():
        # The smallest split keeps it, so that test sets stay what they were.
        home = min(copies, key=lambda copy: sizes[copy.split])
        for copy in copies:
            if copy.split != home.split:
                problem = f"has the same bytes as {home.place.key} of the split {home.split}"
                notes.error("duplicate", copy.place, problem)


def _check_looks(samples: Sequence[SampleFacts], notes: Notes) -> None:
    sizes = Counter(sample.split for sample in samples)
    seen = [(one, look) for one in samples if (look := one.media.look) is not None]
    for pair in sorted(alike([look for _, look in seen])):
        stays, goes = sorted((seen[n][0] for n in pair), key=lambda s: sizes[s.split])
        if stays.split != goes.split:
            problem = f"shows the same pictures as {stays.place.key} of the split {stays.split}"
            notes.warning("look-alike", goes.place, problem)


def _check_loudness(samples: Sequence[SampleFacts], notes: Notes) -> None:
    heard = [s for s in samples if s.media.loudness_decibels is not None]
    if len(heard) < _MIN_FOR_OUTLIERS:
        return
    decibels = np.array([s.media.loudness_decibels for s in heard], np.float64)
    median = float(np.median(decibels))
    spread = _SPREAD_OF_NORMAL * float(np.median(np.abs(decibels - median)))
    limit = max(_OUTLIER_DECIBELS, _OUTLIER_SPREADS * spread)
    for sample, level in zip(heard, decibels.tolist(), strict=True):
        if abs(level - median) > limit:
            notes.warning(
                "loudness",
                sample.place,
                f"its sound has {level:.0f} dB re full scale, the median is {median:.0f} dB",
            )
