"""Audit logs -> proof of coverage: was every clip handed out exactly once?

Clips are compared by what was delivered, not by what the plan says: (source, pass, sample, window)
must not come twice, and every place of every epoch must have come. What a run that was killed had
delivered beyond the state that a later run went on from was rolled back with the weights; the later
run delivers it again, and only that counts (`num_rolled_back`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Final

import numpy as np

from fmrgb_stream.shards.audit_records import Stretch
from fmrgb_stream.shards.audit_report import ClipName, EpochAudit, OrderAudit, PassAudit

if TYPE_CHECKING:
    from numpy.typing import NDArray

    IntArray = NDArray[np.int64]

_PLACES: Final = 1 << 44
"""More than an epoch has: (epoch, place) as one number that sorts like both."""


def audit_stretches(stretches: Iterable[Stretch]) -> list[OrderAudit]:
    """Every order that the logs tell of, each with its epochs."""

    def order_of(stretch: Stretch) -> tuple[str, int]:
        return stretch.loader.order, stretch.loader.seed

    listed = sorted(stretches, key=order_of)
    return [_audit_order(list(group)) for _, group in groupby(listed, key=order_of)]


def _audit_order(stretches: Sequence[Stretch]) -> OrderAudit:
    kept = [
        _Kept(stretch, limit, playing)
        for stretch, limit, playing in zip(
            stretches, _limits(stretches), _playings(stretches), strict=True
        )
    ]
    numbers = sorted({one.number for one in kept})
    repeats = _repeats(kept)
    epochs = tuple(
        _audit_epoch(
            [one for one in kept if one.number == number],
            repeats[number],
            is_last=number[0] == numbers[-1][0],
        )
        for number in numbers
    )
    loader = kept[0].stretch.loader
    passes = _audit_passes(kept) if loader.is_mixture else ()
    return OrderAudit(
        sources=loader.sources,
        seed=loader.seed,
        world_sizes=tuple(sorted({one.loader.world_size for one in stretches})),
        epochs=epochs,
        passes=passes,
        missing=tuple(_missing(kept, epochs, passes)),
        substituted=tuple(name for one in kept for name in one.substituted()),
    )


class _Kept:
    """What counts of a stretch: all of it before the place where a later run went on."""

    def __init__(self, stretch: Stretch, limit: int, playing: int) -> None:
        self.stretch = stretch
        self.number = (stretch.epoch, playing)
        delivered, loader = stretch.delivered, stretch.loader
        is_taken_back = stretch.epoch * _PLACES + delivered.places >= limit
        self.counts = ~is_taken_back & ~delivered.is_padding
        self.num_rolled_back = int(is_taken_back.sum())
        # Beyond the end of one dataset's epoch its first clips are repeated; a mixture goes on.
        self.is_wrapped = self.counts & (delivered.places >= loader.num_clips)
        if loader.is_mixture:
            self.is_wrapped = np.zeros_like(self.counts)

    def identities(self) -> IntArray:
        """int64 [N, 5]: source, pass, sample, window, and how often the epoch was played before."""
        delivered, rows = self.stretch.delivered, self.counts & ~self.is_wrapped
        columns = (delivered.sources, delivered.passes, delivered.samples, delivered.windows)
        playing = np.full(int(rows.sum()), self.number[1])
        return np.stack([*(column[rows] for column in columns), playing], axis=1)

    def substituted(self) -> list[ClipName]:
        delivered = self.stretch.delivered
        return [
            ClipName(
                source=int(delivered.sources[row]),
                number=int(delivered.passes[row]),
                sample_id=int(delivered.samples[row]),
                key=key,
            )
            for row, key in delivered.substitutes
            if self.counts[row]
        ]


def _playings(stretches: Sequence[Stretch]) -> list[int]:
    """How often the process of each stretch had begun its epoch before, without loading a state."""
    counts: dict[tuple[str, int], int] = {}
    playings: list[int] = []
    for one in stretches:
        epoch = (one.loader.file, one.epoch)
        counts[epoch] = max(counts.get(epoch, -1) + (not one.is_loaded), 0)
        playings.append(counts[epoch])
    return playings


def _limits(stretches: Sequence[Stretch]) -> list[int]:
    """For each stretch the first (epoch, place) that a later run has taken back.

    A run takes back what came at or after the place where it begins, of runs that were over by then.
    Ranks of one start begin at one place and do not take back from each other, however much later
    one of them begins; nor does a process from itself, unless it loads a state.
    """
    starts = {}
    for stretch in stretches:
        starts.setdefault(stretch.loader.file, (stretch.epoch, stretch.position))
    begins = np.array([one.epoch * _PLACES + one.position for one in stretches])
    began_at = np.array([one.began_at for one in stretches])
    files = np.array([one.loader.file for one in stretches])
    first = np.array([starts[one.loader.file] for one in stretches])
    ranks = np.array([one.loader.rank for one in stretches])
    world_sizes = np.array([one.loader.world_size for one in stretches])
    is_loaded = np.array([one.is_loaded for one in stretches])
    limits: list[int] = []
    for number, one in enumerate(stretches):
        is_other = np.arange(len(stretches)) != number
        is_later = is_other & (began_at >= one.ended_at)
        same_start = (first == first[number]).all(axis=1) & (world_sizes == world_sizes[number])
        is_fellow = same_start & (ranks != one.loader.rank)
        takes_back = is_later & ~is_fellow & ((files != one.loader.file) | is_loaded)
        limits.append(int(begins[takes_back].min()) if takes_back.any() else 1 << 62)
    return limits


def _repeats(kept: Sequence[_Kept]) -> Counter[tuple[int, int]]:
    """Deliveries of a clip beyond its first, by epoch; found over all, for passes reach across."""
    in_order = sorted(kept, key=lambda one: (one.number, one.stretch.began_at))
    rows = [one.identities() for one in in_order]
    owners = np.repeat(np.arange(len(rows)), [len(part) for part in rows])
    _, first = np.unique(np.concatenate(rows), axis=0, return_index=True)
    is_repeat = np.ones(len(owners), np.bool_)
    is_repeat[first] = False
    return Counter(in_order[owner].number for owner in owners[is_repeat])


def _audit_epoch(kept: Sequence[_Kept], num_duplicates: int, *, is_last: bool) -> EpochAudit:
    last = max(kept, key=lambda one: one.stretch.began_at).stretch
    first, end = min(one.stretch.position for one in kept), _end(last)
    places = np.concatenate([one.stretch.delivered.places[one.counts] for one in kept])
    came = np.zeros(max(end - first, 0), np.bool_)
    came[places[(places >= first) & (places < end)] - first] = True
    absent = np.flatnonzero(~came) + first
    to_come = _is_to_come(absent, kept, last) if is_last else np.zeros(len(absent), np.bool_)
    padding = [one.stretch.delivered.is_padding.sum() + one.is_wrapped.sum() for one in kept]
    epoch, playing = kept[0].number
    return EpochAudit(
        epoch=epoch,
        playing=playing,
        num_expected=len(came),
        num_delivered=int(came.sum()),
        num_missing=int((~to_come).sum()),
        num_to_come=int(to_come.sum()),
        num_duplicates=num_duplicates,
        num_dropped=max(last.loader.num_clips - end, 0),
        num_padding=int(sum(padding)),
        num_substitutes=sum(len(one.substituted()) for one in kept),
        num_rolled_back=sum(one.num_rolled_back for one in kept),
    )


def _end(last: Stretch) -> int:
    """The place after the last that counts, by the tail rule of the run that ended the epoch."""
    loader = last.loader
    whole, rest = divmod(max(loader.num_clips - last.position, 0), loader.global_batch_size)
    if loader.tail == "pad" or (loader.tail == "wrap" and not loader.is_mixture):
        return loader.num_clips
    steps = whole + (loader.tail == "wrap" and rest > 0)
    return last.position + steps * loader.global_batch_size


def _is_to_come(absent: IntArray, kept: Sequence[_Kept], last: Stretch) -> NDArray[np.bool_]:
    """Which absent places the last run's ranks had not come to; others were passed over."""
    loader = last.loader
    reached = np.full(loader.world_size, -1)
    for one in kept:
        stretch = one.stretch
        if (stretch.position, stretch.loader.world_size) == (last.position, loader.world_size):
            rank = stretch.loader.rank
            reached[rank] = max(reached[rank], stretch.delivered.places.max(initial=-1))
    ranks = ((absent - last.position) % loader.global_batch_size) // loader.batch_size
    return (absent >= last.position) & (absent > reached[ranks])


def _audit_passes(kept: Sequence[_Kept]) -> tuple[PassAudit, ...]:
    rows = _clips(kept)
    begins_at_start = min((*one.number, one.stretch.position) for one in kept) == (0, 0, 0)
    passes: list[PassAudit] = []
    for number, source in enumerate(kept[0].stretch.loader.sources):
        counts = Counter(rows[rows[:, 0] == number, 1].tolist())
        edges = {max(counts, default=0)} | (set() if begins_at_start else {min(counts, default=0)})
        passes += [
            PassAudit(
                source=number,
                number=one_pass,
                num_clips=source.num_clips,
                num_delivered=count,
                is_open=count < source.num_clips and one_pass in edges,
            )
            for one_pass, count in sorted(counts.items())
        ]
    return tuple(passes)


def _missing(
    kept: Sequence[_Kept], epochs: Sequence[EpochAudit], passes: Sequence[PassAudit]
) -> Iterator[ClipName]:
    """Samples of which no clip came, where clips are missing; a dropped tail's are among them."""
    if kept[0].stretch.loader.is_mixture:
        lacking = [(one.source, one.number) for one in passes if one.num_missing]
    else:
        lacking = [(0, one.epoch) for one in epochs if one.num_missing]
    rows = _clips(kept)
    for source, number in lacking:
        seen = rows[(rows[:, 0] == source) & (rows[:, 1] == number), 2]
        num_samples = kept[0].stretch.loader.sources[source].num_samples
        for sample_id in np.setdiff1d(np.arange(num_samples), seen).tolist():
            yield ClipName(source=source, number=number, sample_id=sample_id)


def _clips(kept: Sequence[_Kept]) -> IntArray:
    """int64 [N, 4]: source, pass, sample, window of every clip that came."""
    return np.unique(np.concatenate([one.identities()[:, :4] for one in kept]), axis=0)
