"""Finished shards -> rejects.jsonl, manifest.json with channel statistics, and the report."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from fmrgb_stream.config import PackConfig
from fmrgb_stream.errors import PackError
from fmrgb_stream.packing.destination import REJECTS_NAME, remove_stale
from fmrgb_stream.packing.plan import PackPlan, config_values, plan_values
from fmrgb_stream.packing.pools import JobPool
from fmrgb_stream.packing.sources import Reject, SourceListing
from fmrgb_stream.packing.statistics import publish_statistics
from fmrgb_stream.shards.manifest import Manifest, ShardEntry, SplitEntry
from fmrgb_stream.shards.writer import write_atomic


@dataclass(frozen=True, slots=True, kw_only=True)
class PackReport:
    """What `pack` did."""

    manifest: Manifest
    rejects: tuple[Reject, ...]
    """Sorted by path."""
    skipped: tuple[Reject, ...]
    """Files that the parser leaves out on purpose, nothing being wrong with them."""
    rejects_path: Path | str
    """One JSON line for each of `rejects` and `skipped`. The URL where the dataset is in a bucket."""
    warnings: tuple[str, ...]
    """Inputs that were packed, but not quite as one would wish."""
    num_resumed: int
    """Samples that an earlier run had finished."""
    seconds: float

    @property
    def num_packed(self) -> int:
        """Samples in the dataset."""
        return self.manifest.num_samples

    @property
    def num_rejected(self) -> int:
        """Inputs, or segments of inputs, that are not in it."""
        return len(self.rejects)

    @property
    def num_skipped(self) -> int:
        """Files that were left out on purpose."""
        return len(self.skipped)


@dataclass(frozen=True, slots=True, kw_only=True)
class BuiltShard:
    """A finished shard and what the reports need of it."""

    split: str
    entry: ShardEntry
    duration_seconds: float
    groups: frozenset[str]
    rejects: tuple[Reject, ...]
    warnings: tuple[str, ...]
    is_resumed: bool


def nothing_left(rejects: Sequence[Reject]) -> PackError:
    """The error for a source whose every input was rejected."""
    shown = "; ".join(f"{reject.path}: {reject.reason}" for reject in rejects[:4])
    return PackError(f"none of {len(rejects)} inputs can be packed. {shown}")


def publish(
    plan: PackPlan,
    listing: SourceListing,
    destination: Path,
    config: PackConfig,
    built: Sequence[BuiltShard],
    pool: JobPool,
) -> PackReport:
    """Write rejects.jsonl and, last, manifest.json: first without, then with statistics."""
    rejects = (*plan.rejects, *(reject for shard in built for reject in shard.rejects))
    rejects, skipped = _sorted(rejects), _sorted(listing.skipped)
    told = _sorted((*rejects, *skipped))
    lines = [json.dumps(asdict(reject), ensure_ascii=False) + "\n" for reject in told]
    rejects_path = destination / REJECTS_NAME
    write_atomic(rejects_path, "".join(lines).encode("utf-8", "replace"))
    # A shard whose every sample was rejected is no part of the dataset.
    kept = [shard for shard in built if shard.entry.num_samples]
    remove_stale(
        destination,
        named=[shard.path for shard in plan.shards],
        kept=[shard.entry.path for shard in kept],
    )
    if not kept:
        raise nothing_left(rejects)
    manifest, _ = publish_statistics(
        destination,
        _manifest(plan, listing, config, kept),
        max_clips=config.stats_samples,
        pool=pool,
    )
    return PackReport(
        manifest=manifest,
        rejects=rejects,
        skipped=skipped,
        rejects_path=rejects_path,
        warnings=tuple(
            dict.fromkeys((*plan.warnings, *(w for shard in built for w in shard.warnings)))
        ),
        num_resumed=sum(shard.entry.num_samples for shard in kept if shard.is_resumed),
        seconds=0.0,
    )


def _sorted(rejects: Iterable[Reject]) -> tuple[Reject, ...]:
    return tuple(sorted(rejects, key=lambda reject: (reject.path, reject.stage, reject.reason)))


def _manifest(
    plan: PackPlan, listing: SourceListing, config: PackConfig, built: Sequence[BuiltShard]
) -> Manifest:
    splits = {name: _split([s for s in built if s.split == name]) for name in plan.split_names}
    return Manifest(
        pack_config=config_values(config) | plan_values(plan),
        classes=listing.classes,
        target_names=listing.target_names,
        splits={name: split for name, split in splits.items() if split.shards},
        channel_stats={},
    )


def _split(shards: Sequence[BuiltShard]) -> SplitEntry:
    return SplitEntry(
        shards=tuple(shard.entry for shard in shards),
        duration_seconds=sum(shard.duration_seconds for shard in shards),
        num_groups=len(frozenset[str]().union(*(shard.groups for shard in shards))),
    )
