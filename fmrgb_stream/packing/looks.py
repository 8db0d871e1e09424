"""Decoded pictures of a sample -> is it black, does it stand still, and what does it look like.

Frames are looked at as 32 x 32 grey thumbnails. The look of a sample is the perceptual hash (the
low frequencies of a cosine transform against their median; Zauner 2010, chapter 3.2.1) of
three of its frames, which survives encoding, scaling and small changes of brightness; what two
hashes call alike must also be alike in its thumbnails.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

THUMB_SIDE: Final = 32
_HASH_SIDE: Final = 8
_BAND_BITS: Final = 16
MAX_BLACK_LEVEL: Final = 20
"""Brightest thumbnail value, 0..255, of a picture that shows nothing."""
MAX_STILL_STEP: Final = 0.5
"""Mean change, in grey levels, that encoding noise alone stays below."""
MIN_STILL_SECONDS: Final = 1.0
_MIN_CONTRAST: Final = 4.0
"""Standard deviation; flatter pictures look like any other."""
_MAX_BITS: Final = 18
"""Of 189: two encodings of one picture differ by less, two pictures by 60 and more."""
_MAX_LEVELS: Final = 6.0
_LACKING: Final = 0.05
"""Of the standard deviation of a picture's frequencies."""
_NEIGHBOURS: Final = 64
"""Looks of a bucket that each is compared with, so that a million of one kind take no hours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What a sample looks like."""

    hashes: tuple[int, ...]
    """63 bits for each of three frames."""
    levels_NHW: NDArray[np.uint8]
    """uint8 [3, 8, 8]: their means over squares."""


def black_share(thumbs_FHW: NDArray[np.uint8]) -> float:
    """The share of frames that show nothing, 0..1."""
    return float((thumbs_FHW.max(axis=(1, 2)) <= MAX_BLACK_LEVEL).mean())


def longest_still(thumbs_FHW: NDArray[np.uint8]) -> tuple[int, int]:
    """(first frame, frames) of the longest stretch whose pictures are all like its first one.

    So a slow pan, in which no frame differs much from the one before, is not a still picture.
    """
    levels = thumbs_FHW.astype(np.int16)
    best, first = (0, 1), 0
    for frame in range(1, len(levels) + 1):
        if frame < len(levels) and np.abs(levels[frame] - levels[first]).mean() <= MAX_STILL_STEP:
            continue
        best = max(best, (first, frame - first), key=lambda stretch: stretch[1])
        first = frame
    return best


def look_of(thumbs_FHW: NDArray[np.uint8]) -> Look | None:
    """The look of a sample; None where it is too flat to be told from others."""
    num_frames = len(thumbs_FHW)
    shown = thumbs_FHW[[math.floor(num_frames * part / 6) for part in (1, 3, 5)]]
    if (shown.std(axis=(1, 2)) < _MIN_CONTRAST).any():
        return None
    squares = shown.reshape(len(shown), _HASH_SIDE, THUMB_SIDE // _HASH_SIDE, _HASH_SIDE, -1)
    levels_NHW = np.rint(squares.mean(axis=(2, 4))).astype(np.uint8)
    return Look(hashes=tuple(_hash(thumb) for thumb in shown), levels_NHW=levels_NHW)


def alike(looks: Sequence[Look]) -> Iterator[tuple[int, int]]:
    """Places (i, j), i < j, of looks that are the same."""
    told: set[tuple[int, int]] = set()
    for places in _buckets(looks):
        for at, one in enumerate(places):
            for other in places[at + 1 : at + 1 + _NEIGHBOURS]:
                if (one, other) not in told and _is_same(looks[one], looks[other]):
                    told.add((one, other))
                    yield one, other


def _buckets(looks: Sequence[Look]) -> Iterator[list[int]]:
    """Looks that have 16 bits of a hash in common; only those are compared."""
    buckets: dict[tuple[int, int, int], list[int]] = defaultdict(list)
    for place, look in enumerate(looks):
        for frame, bits in enumerate(look.hashes):
            for band in range(0, 64, _BAND_BITS):
                buckets[frame, band, bits >> band & (1 << _BAND_BITS) - 1].append(place)
    return (places for places in buckets.values() if len(places) > 1)


def _is_same(one: Look, other: Look) -> bool:
    pairs = zip(one.hashes, other.hashes, strict=True)
    if sum((mine ^ theirs).bit_count() for mine, theirs in pairs) > _MAX_BITS:
        return False
    difference = np.abs(one.levels_NHW.astype(np.int16) - other.levels_NHW)
    return bool(difference.mean(axis=(1, 2)).max() <= _MAX_LEVELS)


def _cosines() -> NDArray[np.float64]:
    """float64 [8, 32]: the lowest rows of the DCT-II matrix."""
    rows, places = np.arange(_HASH_SIDE), np.arange(THUMB_SIDE)
    return np.cos(np.pi * rows[:, None] * (2 * places + 1) / (2 * THUMB_SIDE))


_COSINES: Final = _cosines()


def _hash(thumb_HW: NDArray[np.uint8]) -> int:
    low = (_COSINES @ thumb_HW.astype(np.float64) @ _COSINES.T).ravel()[1:]
    # Frequencies that a picture lacks lie about the median by chance: they must not count as above.
    return int.from_bytes(np.packbits(low > np.median(low) + _LACKING * low.std()).tobytes())
