"""What a check found: Outcome, and how it is told."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

Status = Literal["pass", "fail", "measured", "not run"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The result of one check. `measured` is for what has no right answer."""

    status: Status
    facts: dict[str, Any] = field(default_factory=dict[str, Any])
    """What was seen, by name; plain JSON values."""


def judged(facts: dict[str, Any], *, is_good: bool) -> Outcome:
    """Pass or fail."""
    return Outcome(status="pass" if is_good else "fail", facts=facts)


def essence(error: BaseException) -> str:
    """The first lines of an error that say something; DALI's begin with where, not what."""
    text = str(error).rpartition("encountered:")[2].partition("C++ context")[0]
    return f"{type(error).__name__}: {' '.join(text.split())[:200]}"
