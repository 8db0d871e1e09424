"""Where an epoch stands: EpochPosition <-> state dict."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

from fmrgb_stream.errors import StateMismatch

STATE_VERSION: Final = 2
"""1: epoch, position, seed, fingerprint. 2: `start` besides, for mixtures."""
_OF_ONE_DATASET: Final = {"start": 0}
"""What version 1, which knew no mixtures, did not say."""


def order_fingerprint(*parts: Any) -> str:
    """16 hex digits that change with any of the JSON values that shape an epoch's order."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochPlace:
    """A place in the epochs of one order."""

    epoch: int = 0
    start: int = 0
    """Clip of a mixture's stream that the epoch begins with; 0 for one dataset."""
    position: int = 0
    """Clips before it in this epoch, counted over all ranks."""

    def moved(self, num_clips: int) -> EpochPlace:
        """So many clips on in the same epoch."""
        return replace(self, position=self.position + num_clips)


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochPosition:
    """A place in the order of a dataset or mixture; all that a resumed loader needs."""

    place: EpochPlace
    seed: int
    fingerprint: str
    """Changes with the data, the split, and every setting that changes the order."""

    def to_state(self) -> dict[str, Any]:
        """Plain numbers and strings, with a version."""
        return {
            "version": STATE_VERSION,
            **asdict(self.place),
            "seed": self.seed,
            "fingerprint": self.fingerprint,
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any], *, seed: int, fingerprint: str) -> EpochPosition:
        """Read a saved state, also of an older version, for a loader of this seed and fingerprint.

        Raises:
            StateMismatch: the state is of an unknown version, other data, or other settings.
        """
        version = state.get("version")
        if version == 1:
            state = _OF_ONE_DATASET | dict(state)
        elif version != STATE_VERSION:
            raise StateMismatch(
                f"version is {version!r} in the saved state; this release reads 1 to "
                f"{STATE_VERSION}. Resume with the release that saved it, or start the epoch anew"
            )
        for name, value in {"seed": seed, "fingerprint": fingerprint}.items():
            if state.get(name) != value:
                raise StateMismatch(
                    f"{name} is {state.get(name)!r} in the saved state and {value!r} here; resume "
                    "with the same dataset or sources and weights, split, seed, shuffling and "
                    "window settings"
                )
        counts: dict[str, Any] = {n: state.get(n) for n in ("epoch", "start", "position")}
        if not all(_is_count(value) for value in counts.values()):
            raise StateMismatch(f"{counts} in the saved state must be counts; it is damaged")
        return cls(place=EpochPlace(**counts), seed=seed, fingerprint=fingerprint)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
