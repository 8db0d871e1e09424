"""Groups -> splits. A group never stands in two splits. Pure functions."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Final

from fmrgb_stream.config import SPLIT_NAME
from fmrgb_stream.errors import SourceError

TRAIN: Final = "train"


def hash_fraction(seed: int, name: str) -> float:
    """A number in 0..1 that depends on seed and name alone, the same on every machine."""
    digest = hashlib.sha256(f"{seed}\0{name}".encode()).digest()
    return int.from_bytes(digest[:7], "big") / 2**56


def split_of_group(group: str, *, seed: int, shares: Mapping[str, float]) -> str:
    """The split of one group: where its hash falls in the cumulative shares.

    Other groups do not matter, so data that is added later moves nothing.
    """
    place, end = hash_fraction(seed, group), 0.0
    used = [name for name, share in shares.items() if share > 0]
    for name in used:
        end += shares[name]
        if place < end:
            return name
    return used[-1]  # the shares add up to a hair less than 1


def assign_splits(
    groups: Iterable[str], explicit: Mapping[str, str], *, seed: int, shares: Mapping[str, float]
) -> dict[str, str]:
    """The split of every group; `explicit` ones stay where the source put them.

    When the hash leaves `train` empty although it has a share, the free group with the smallest
    hash moves there.
    """
    assigned = {
        group: explicit.get(group) or split_of_group(group, seed=seed, shares=shares)
        for group in sorted(set(groups))
    }
    free = [group for group in assigned if group not in explicit]
    if free and shares.get(TRAIN, 0) > 0 and TRAIN not in assigned.values():
        assigned[min(free, key=lambda group: (hash_fraction(seed, group), group))] = TRAIN
    return assigned


def explicit_splits(rows: Iterable[tuple[str, str | None, str]]) -> dict[str, str]:
    """The splits that a source names, by group. `rows` are (group, split or None, input's name).

    Raises:
        SourceError: a group stands in two splits, or a split's name cannot be a folder.
    """
    found: dict[str, tuple[str, str]] = {}
    for group, split, name in rows:
        if split is None:
            continue
        if not SPLIT_NAME.fullmatch(split):
            raise SourceError(
                f"split {split!r} of {name} cannot name a folder; 1 to 40 letters, "
                "digits, _ and - only"
            )
        other, other_name = found.setdefault(group, (split, name))
        if other != split:
            raise SourceError(
                f"group {group!r} stands in two splits: {other!r} ({other_name}) and {split!r} "
                f"({name}); what was learned from one would be tested on the other. Give both the "
                "same split, or different groups if they have nothing in common (overlapping "
                "stretches of equal files always are one group)"
            )
    return {group: split for group, (split, _) in found.items()}
