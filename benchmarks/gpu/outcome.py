"""What a check found: Outcome, and how it is told."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

Status = Literal["pass", "fail", "measured", "not run"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The result of one check. `measured` is a figure whose bar is meant for other hardware."""

    status: Status
    bar: str = ""
    """What has to hold; empty only where nothing was run."""
    facts: dict[str, Any] = field(default_factory=dict[str, Any])
    """What was seen, by name; plain JSON values."""


def judged(facts: dict[str, Any], *, bar: str, is_good: bool) -> Outcome:
    """Pass or fail."""
    return Outcome(status="pass" if is_good else "fail", bar=bar, facts=facts)


def judged_on_gpu(facts: dict[str, Any], *, bar: str, is_good: bool, device: str) -> Outcome:
    """Pass or fail of a GPU; on the CPU, whose operators are slower by nature, only measured."""
    if device == "cpu":
        return Outcome(status="measured", bar=bar, facts={**facts, "on a GPU": "judged"})
    return judged(facts, bar=bar, is_good=is_good)


def essence(error: BaseException) -> str:
    """The first lines of an error that say something; DALI's begin with where, not what."""
    text = str(error).rpartition("encountered:")[2].partition("C++ context")[0]
    return f"{type(error).__name__}: {' '.join(text.split())[:200]}"
