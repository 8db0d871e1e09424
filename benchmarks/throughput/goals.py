"""Variants -> what has to show, and whether it does. Ratios are medians of ratios inside a round."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from benchmarks.bars import Bar
from benchmarks.throughput.contract import Planes
from benchmarks.throughput.entrants import LIMIT, OURS
from benchmarks.throughput.results import Variant, memory

OF_LIMIT: Final[dict[Planes, float]] = {"fmrgb": 0.65, "rgb+mel": 0.80, "rgb": 0.90}
"""Speed relative to decoding and scaling alone."""
BEST_PEER, WEBDATASET_DECORD, BEST_PEER_ON_SOURCES = 1.8, 2.8, 20.0
"""Times as fast as these."""
USUAL_PAIR: Final = "webdataset_decord"


def goals(variants: Sequence[Variant]) -> tuple[Bar, ...]:
    """Every goal that was measured. Real clips are too few and too still to be held to it."""
    return tuple(
        bar for variant in variants if variant.corpus == "generated" for bar in _of(variant)
    )


def _of(variant: Variant) -> Iterator[Bar]:
    if variant.form == "sources":
        yield from _against_best_peer(variant, BEST_PEER_ON_SOURCES)
        return
    yield from _ratio(variant, LIMIT.label, "the limit", OF_LIMIT[variant.planes])
    if variant.planes == "fmrgb":
        yield from _against_best_peer(variant, BEST_PEER)
        yield from _ratio(variant, USUAL_PAIR, "WebDataset + decord", WEBDATASET_DECORD)
    ours, peers = variant.find(OURS.label), variant.timed_peers()
    if ours is not None and any(ours.rounds) and peers:
        yield Bar(
            name=f"{variant.title}: peak memory (PSS), below every peer's",
            value=memory(ours),
            limit=min(memory(peer) for peer in peers),
            unit="MiB",
        )


def _against_best_peer(variant: Variant, limit: float) -> Iterator[Bar]:
    peers = variant.timed_peers()
    if peers:
        yield from _ratio(variant, peers[0].label, f"the best peer, {peers[0].name}", limit)


def _ratio(variant: Variant, label: str, called: str, limit: float) -> Iterator[Bar]:
    ours, other = variant.find(OURS.label), variant.find(label)
    ratio = variant.ratio(ours, other) if ours is not None and other is not None else None
    if ratio is not None:
        yield Bar(
            name=f"{variant.title}: times {called}",
            value=ratio,
            limit=limit,
            direction="at least",
        )
