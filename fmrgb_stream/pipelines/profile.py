"""Two snapshots of a pipeline's counts -> where the time went, what limits, and what to change."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Final, Literal

from fmrgb_stream.pipelines.counters import PipelineCounts
from fmrgb_stream.storage import ReadCounts

WorkStage = Literal["read", "decode", "flow", "audio", "other"]
Limit = Literal["read", "decode", "flow", "audio", "other", "prefetch", "consumer"]

_BUSY_STAGES: Final[tuple[WorkStage, ...]] = ("read", "decode", "flow", "audio")
IDLE_SHARE: Final = 0.25
"""Workers that stand still for more of their time than this are not what limits."""
WAIT_SHARE: Final = 0.1
"""A consumer that waits for less of its time than this has its batches soon enough."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoaderSetting:
    """What a loader runs with, as far as advice depends on it."""

    usable_cores: int
    """Of this process's share of the machine."""
    backend: Literal["cpu", "dali"]
    is_remote: bool
    """Whether the dataset lies on another machine."""
    has_cache: bool = False
    """Whether what comes from there is kept on this one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoaderProfile:
    """A stretch of a loader's work."""

    seconds: float
    num_clips: int
    stage_shares: dict[WorkStage, float]
    """0..1 of the workers' time; `other` is planning, answering, and waiting for a core."""
    idle_share: float
    """0..1 of the workers' time: they had nothing to do."""
    wait_share: float
    """0..1 of the consumer's time: it waited for a batch."""
    reads: ReadCounts
    limit: Limit
    advice: str
    """What to change."""

    @property
    def clips_per_second(self) -> float:
        """Clips a second that were handed out."""
        return self.num_clips / self.seconds

    @property
    def bytes_per_second(self) -> float:
        """Bytes a second that came from storage."""
        return self.reads.num_bytes / self.seconds


def counts_of(stats: Mapping[str, Any]) -> PipelineCounts:
    """The counts that `ClipLoader.stats()` tells."""
    values: dict[str, Any] = {field.name: stats[field.name] for field in fields(PipelineCounts)}
    values["reads"] = ReadCounts(**stats["reads"])
    return PipelineCounts(**values)


def profile_of(
    before: PipelineCounts, after: PipelineCounts, *, seconds: float, setting: LoaderSetting
) -> LoaderProfile:
    """What happened between two snapshots.

    Args:
        before: at the start of the stretch.
        after: at its end.
        seconds: between them.
        setting: what the loader runs with.
    """
    worker_seconds = seconds * after.num_workers
    spent = {
        stage: getattr(after, f"{stage}_seconds") - getattr(before, f"{stage}_seconds")
        for stage in (*_BUSY_STAGES, "idle", "wait")
    }
    shares: dict[WorkStage, float] = {
        stage: min(spent[stage] / worker_seconds, 1.0) for stage in _BUSY_STAGES
    }
    idle_share = min(spent["idle"] / worker_seconds, 1.0)
    shares["other"] = max(1.0 - sum(shares.values()) - idle_share, 0.0)
    wait_share = min(spent["wait"] / seconds, 1.0)
    limit = _limit(shares, idle_share=idle_share, wait_share=wait_share)
    return LoaderProfile(
        seconds=seconds,
        num_clips=after.num_clips - before.num_clips,
        stage_shares=shares,
        idle_share=idle_share,
        wait_share=wait_share,
        reads=after.reads - before.reads,
        limit=limit,
        advice=_advice(limit, after, setting),
    )


def _limit(shares: dict[WorkStage, float], *, idle_share: float, wait_share: float) -> Limit:
    if idle_share > IDLE_SHARE:
        return "consumer" if wait_share < WAIT_SHARE else "prefetch"
    return max(shares, key=lambda stage: shares[stage])


def _advice(limit: Limit, counts: PipelineCounts, setting: LoaderSetting) -> str:
    match limit:
        case "consumer":
            return "nothing: batches are there before they are asked for"
        case "prefetch":
            return (
                "workers stand still while the consumer waits: raise prefetch_batches (at most "
                f"{counts.num_batches_limit} batches are in the making now) and prefetch_bytes"
            )
        case "read" if not setting.is_remote:
            return (
                "reading from this machine's disk: the first pass over cold files is the slowest; "
                "else take a faster disk, or more num_workers, so that some decode while others read"
            )
        case "read" if setting.has_cache:
            return (
                "reading from remote storage into the cache: the first epoch is the slowest; the next "
                "ones read from this machine, if cache_bytes holds the dataset. Until then raise "
                "num_workers, so that some decode while others wait for bytes"
            )
        case "read":
            return (
                "reading from remote storage: set cache_dir, so that later epochs read from this "
                "machine, or raise num_workers, so that some decode while others wait for bytes"
            )
        case "other" if setting.backend == "dali":
            return "DALI's graph takes the time; try another decode= place, or smaller clips"
        case "other":
            return (
                "workers are kept from working: other programs, or other ranks, use the cores; "
                f"num_workers={counts.num_workers} of {setting.usable_cores} usable cores"
            )
        case _:
            return _advice_on_work(limit, counts.num_workers, setting)


def _advice_on_work(limit: Limit, num_workers: int, setting: LoaderSetting) -> str:
    if num_workers < setting.usable_cores:
        return (
            f"raise num_workers from {num_workers} to {setting.usable_cores}, the cores that this "
            "process may use"
        )
    on_gpu = "" if setting.backend == "dali" else ", or device='cuda' with DALI"
    cures = {
        "decode": "pack smaller pictures (fmrgb pack --short-side) or a lower rate (--fps), or "
        "try another decode= place" if setting.backend == "dali" else
        "pack smaller pictures (fmrgb pack --short-side) or a lower rate (--fps)",
        "flow": "leave flow out of the channels, or take smaller clips",
        "audio": "take a simpler sound plane (clip.mel.method) or leave it out",
    }  # fmt: skip
    return f"all {setting.usable_cores} usable cores are at work; {cures[limit]}{on_gpu}"
