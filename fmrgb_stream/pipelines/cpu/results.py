"""What a worker hands back beside the values it wrote."""

from __future__ import annotations

from dataclasses import dataclass

from fmrgb_stream.pipelines.counters import Stage
from fmrgb_stream.pipelines.quarantine import BadSample


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeClip:
    """A clip that is complete."""

    key: str
    """Of the sample that was delivered."""
    label: int | None
    targets: tuple[float, ...] | None
    num_valid_frames: int
    is_substitute: bool
    bad_samples: tuple[BadSample, ...]
    """Met on the way."""
    seconds: dict[Stage, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedClip:
    """A clip that ends the run."""

    error: BaseException
    bad_samples: tuple[BadSample, ...]
    """Met on the way."""
