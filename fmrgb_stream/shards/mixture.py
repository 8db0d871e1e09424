"""Several datasets as one: clip number of a mixture -> (source, number in that source's own stream).

A mixture is an endless stream of clips, cut into rounds of L clips, where L is what all sources have
together. Source k gives c_k clips to every round: its weight's share of L, rounded by largest
remainders so that the c_k add up to L. Within a round its clips lie evenly: about every
`WINDOW_CLIPS` clips hold each source's share, off by less than one clip at either end, and inside
such a window the sources come in an order hashed from (seed, round, window), or, unshuffled, take
turns.

The clips a source gives are numbered on from round to round, and number g is place g mod n_k of its
pass g div n_k, n_k being its clips. So each of its clips is given exactly once per pass, whatever
the weights are, and a pass that an epoch does not finish is gone on with in the next.

Everything is arithmetic on the clip's number: nothing is stored, and any place is found at once.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache
from typing import TYPE_CHECKING, Final

import numpy as np

from fmrgb_stream.shards.plan import hash_counter

if TYPE_CHECKING:
    from numpy.typing import NDArray

WINDOW_CLIPS: Final = 256
"""Sources are mixed at random within about this many clips."""
_WINDOWS_KEPT: Final = 4
_OF_MIXTURES: Final = 0x6D6978
"""Keeps these hashes apart from those of the datasets' own orders."""


def share_out(num_clips: int, weights: Sequence[float]) -> tuple[int, ...]:
    """`num_clips` in proportion to the weights, by largest remainders; the first wins a tie."""
    exact = [Fraction(weight) for weight in weights]
    wanted = [weight * num_clips / sum(exact) for weight in exact]
    counts = [int(clips) for clips in wanted]
    by_remainder = sorted(range(len(counts)), key=lambda k: (counts[k] - wanted[k], k))
    for source in by_remainder[: num_clips - sum(counts)]:
        counts[source] += 1
    return tuple(counts)


class MixturePlan:
    """Which source gives each clip of the stream."""

    def __init__(self, clips_by_source: Sequence[int], *, seed: int, shuffle: bool) -> None:
        """Take the clips that each source gives to a round (`share_out`)."""
        self._counts = tuple(clips_by_source)
        self.num_clips = sum(self._counts)
        """Of a round."""
        self._num_windows = -(-self.num_clips // WINDOW_CLIPS)
        self._seed, self._shuffle = seed, shuffle
        self._window = lru_cache(maxsize=_WINDOWS_KEPT)(self._window_clips)

    def locate(self, numbers: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """(source, number in the source's stream), int64 [N] each, of clips of the mixture."""
        sources, own_numbers = np.empty_like(numbers), np.empty_like(numbers)
        for at, number in enumerate(numbers.tolist()):
            round_number, place = divmod(number, self.num_clips)
            window = self._window_of(place)
            first, window_sources, window_numbers = self._window(round_number, window)
            sources[at] = window_sources[place - first]
            own_numbers[at] = window_numbers[place - first]
        return sources, own_numbers

    def _given_before(self, window: int) -> list[int]:
        """Clips of a round that each source gives before a window: a rounded share, so evenly."""
        total = self._num_windows
        return [(2 * count * window + total) // (2 * total) for count in self._counts]

    def _window_of(self, place: int) -> int:
        starts = range(self._num_windows)
        return bisect_right(starts, place, key=lambda window: sum(self._given_before(window))) - 1

    def _window_clips(
        self, round_number: int, window: int
    ) -> tuple[int, NDArray[np.int64], NDArray[np.int64]]:
        """(first place of the window in its round, sources, numbers in their streams)."""
        before, after = self._given_before(window), self._given_before(window + 1)
        given = [np.arange(first, last) for first, last in zip(before, after, strict=True)]
        sources = np.repeat(np.arange(len(given)), [len(own) for own in given])
        if self._shuffle:
            key = hash_counter(self._seed, round_number, window, _OF_MIXTURES, count=len(sources))
        else:
            key = np.concatenate(
                [(own + 0.5) / count for own, count in zip(given, self._counts, strict=True)]
            )
        sources = sources[np.argsort(key, kind="stable")]
        numbers = np.empty(len(sources), np.int64)
        for source, own in enumerate(given):
            numbers[sources == source] = round_number * self._counts[source] + own
        return sum(before), sources, numbers
