"""What an audit of the delivered clips finds: counts by epoch and pass, and the clips that lack."""

from __future__ import annotations

from dataclasses import dataclass

from fmrgb_stream.shards.audit_log import SourceInfo


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipName:
    """One clip of a dataset."""

    source: int
    number: int
    """Which pass over the source; the epoch, where there is one source."""
    sample_id: int
    key: str = ""
    """Empty until it is looked up; of a substitute, the sample that stood in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochAudit:
    """One epoch, over all ranks and restarts."""

    epoch: int
    playing: int
    """0, and more where one process played an epoch again from its start."""
    num_expected: int
    """Places that the tail rule has."""
    num_delivered: int
    """Of them, those that came."""
    num_missing: int
    """Of them, those that were left out."""
    num_to_come: int
    """Of them, those that the last run had not come to."""
    num_duplicates: int
    """Clips that came although the same clip had come already."""
    num_dropped: int
    """Clips of the epoch that a dropped tail leaves out: for good, or of a mixture for the next."""
    num_padding: int
    """Flagged repeats, and unflagged ones of a wrapped tail."""
    num_substitutes: int
    num_rolled_back: int

    @property
    def coverage(self) -> float:
        """0..1."""
        return self.num_delivered / self.num_expected if self.num_expected else 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PassAudit:
    """One pass over one source of a mixture."""

    source: int
    number: int
    num_clips: int
    num_delivered: int
    is_open: bool
    """The logs begin or end within it."""

    @property
    def num_missing(self) -> int:
        """Clips that did not come, though what follows them did."""
        return 0 if self.is_open else self.num_clips - self.num_delivered


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderAudit:
    """All that the logs say of one order: a dataset or mixture with its seed and settings."""

    sources: tuple[SourceInfo, ...]
    seed: int
    world_sizes: tuple[int, ...]
    epochs: tuple[EpochAudit, ...]
    passes: tuple[PassAudit, ...]
    """Of a mixture, whose passes reach across its epochs."""
    missing: tuple[ClipName, ...]
    """Samples of which no clip came, in an epoch or pass that lacks some."""
    substituted: tuple[ClipName, ...]

    def is_good(self, *, may_be_running: bool = False) -> bool:
        """Whether every clip came exactly once; with `may_be_running`, all up to now."""
        is_whole = not any(
            epoch.num_missing or epoch.num_duplicates or (epoch.num_to_come and not may_be_running)
            for epoch in self.epochs
        )
        return is_whole and not any(one.num_missing for one in self.passes)
