"""Facts of all samples -> what no sample can tell alone: leaks between splits, odd ones out."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence, Set
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
    condemned = _check_keys(samples, notes) | _check_groups(samples, notes)
    condemned |= _check_equal_bytes(samples, condemned, notes)
    _check_looks(samples, condemned, notes)
    _check_loudness(samples, notes)


def _check_keys(samples: Iterable[SampleFacts], notes: Notes) -> set[int]:
    """The numbers of the samples that have an error now."""
    keys: dict[str, str] = {}
    condemned: set[int] = set()
    for number, sample in enumerate(samples):
        place = sample.place
        if place.key in keys:
            notes.error("key", place, f"the same key stands in {keys[place.key]}")
            condemned.add(number)
        else:
            keys[place.key] = place.path
    return condemned


def _check_groups(samples: Sequence[SampleFacts], notes: Notes) -> set[int]:
    """A group belongs to the split that has most of it, to the first of two with as many.

    Returns the numbers of the samples that have an error now.
    """
    groups: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    condemned: set[int] = set()
    for number, sample in enumerate(samples):
        groups[sample.group][sample.split].append(number)
    for group, splits in sorted(groups.items()):
        if len(splits) < 2:
            continue
        home = max(splits, key=lambda split: len(splits[split]))
        for split, strays in splits.items():
            if split == home:
                continue
            for stray in strays:
                condemned.add(stray)
                notes.error(
                    "group-leak",
                    samples[stray].place,
                    f"group {group!r} stands in the splits {', '.join(sorted(splits))}; "
                    f"most of it in {home}",
                )
    return condemned


def _check_equal_bytes(
    samples: Sequence[SampleFacts], condemned: Set[int], notes: Notes
) -> set[int]:
    """The numbers of the samples that have an error now.

    Of the `condemned` no copy is told: they have an error already, and without them there is none.
    """
    sizes = Counter(sample.split for sample in samples)
    same: dict[str, list[int]] = defaultdict(list)
    for number, sample in enumerate(samples):
        if sample.media.content_id and number not in condemned:
            same[sample.media.content_id].append(number)
    found: set[int] = set()
    for numbers in same.values():
        # The smallest split keeps it, so that test sets stay what they were.
        home = samples[min(numbers, key=lambda n: sizes[samples[n].split])]
        for number in numbers:
            if samples[number].split != home.split:
                found.add(number)
                problem = f"has the same bytes as {home.place.key} of the split {home.split}"
                notes.error("duplicate", samples[number].place, problem)
    return found


def _check_looks(samples: Sequence[SampleFacts], condemned: Set[int], notes: Notes) -> None:
    """Of two that look alike one must go, if neither goes anyway."""
    sizes = Counter(sample.split for sample in samples)
    numbers = [
        n for n, one in enumerate(samples) if one.media.look is not None and n not in condemned
    ]
    looks = [look for n in numbers if (look := samples[n].media.look) is not None]
    for pair in sorted((numbers[a], numbers[b]) for a, b in alike(looks)):
        stays, goes = sorted((samples[n] for n in pair), key=lambda s: sizes[s.split])
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
