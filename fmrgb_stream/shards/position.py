"""Where an epoch stands: EpochPosition <-> state dict."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from fmrgb_stream.errors import StateMismatch

STATE_VERSION: Final = 1


def order_fingerprint(*parts: Any) -> str:
    """16 hex digits that change with any of the JSON values that shape an epoch's order."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochPosition:
    """A place in the order of a dataset; all that a resumed loader needs."""

    epoch: int
    position: int
    """Clips delivered in this epoch, counted over all ranks."""
    seed: int
    fingerprint: str
    """Changes with the data, the split, and every setting that changes the order."""

    def to_state(self) -> dict[str, Any]:
        """Plain numbers and strings, with a version."""
        return {"version": STATE_VERSION, **asdict(self)}

    @classmethod
    def from_state(cls, state: Mapping[str, Any], *, seed: int, fingerprint: str) -> EpochPosition:
        """Read a saved state for a loader of this seed and fingerprint.

        Raises:
            StateMismatch: the state is of another version, other data, or other settings.
        """
        expected = {"version": STATE_VERSION, "seed": seed, "fingerprint": fingerprint}
        for name, value in expected.items():
            if state.get(name) != value:
                raise StateMismatch(
                    f"{name} is {state.get(name)!r} in the saved state and {value!r} here; resume "
                    "with the same dataset, split, seed, shuffling and window settings"
                )
        epoch, position = state.get("epoch"), state.get("position")
        if not isinstance(epoch, int) or not isinstance(position, int) or min(epoch, position) < 0:
            raise StateMismatch(f"epoch {epoch!r} and position {position!r} must be counts")
        return cls(epoch=epoch, position=position, seed=seed, fingerprint=fingerprint)
