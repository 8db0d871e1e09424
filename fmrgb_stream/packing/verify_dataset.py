"""verify(): dataset root -> findings. Every byte is hashed, every row compared, samples decoded.

In the order of the work: verify_shard.py compares tar, sidecar and manifest; verify_media.py decodes
samples, many at once; verify_across.py compares them with each other.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final

from fmrgb_stream.config import check_count
from fmrgb_stream.distributed import usable_cores
from fmrgb_stream.errors import ConfigError
from fmrgb_stream.packing.findings import SEVERITIES, Finding, Notes, Place, VerifyReport
from fmrgb_stream.packing.progress import Progress, SilentProgress
from fmrgb_stream.packing.verify_across import SampleFacts, check_across
from fmrgb_stream.packing.verify_media import MediaFacts, check_media
from fmrgb_stream.packing.verify_shard import (
    check_info,
    check_members,
    check_structure,
    read_index,
    read_tar,
)
from fmrgb_stream.shards.manifest import MANIFEST_NAME, Manifest, ShardEntry
from fmrgb_stream.storage import Store

Decode = int | None
"""How many samples are decoded at most; None is all of them."""

STAGE: Final = "verify"


def verify(
    root: str | os.PathLike[str],
    *,
    decode: Decode = None,
    num_workers: int | None = None,
    progress: Progress | None = None,
) -> VerifyReport:
    """Check a whole dataset.

    Args:
        root: Folder or URL of manifest.json.
        decode: At most this many samples are decoded, the way a loader decodes them by default;
            None is all.
        num_workers: Threads; None is one a usable core.
        progress: Where to report; None is nowhere.

    Raises:
        ConfigError: `decode` or `num_workers` is no count.
        ManifestError, StorageError: there is no readable manifest, so nothing can be checked.
    """
    check_count("num_workers", num_workers)
    if decode is not None and decode < 0:
        raise ConfigError(f"decode={decode!r} must be None, for all samples, or at least 0")
    started = time.monotonic()
    store = Store(root)
    manifest = Manifest.load(store)
    told = progress or SilentProgress()
    told.start(STAGE, total=manifest.num_samples)
    workers = num_workers or usable_cores()
    try:
        with ThreadPoolExecutor(workers, thread_name_prefix="fmrgb-verify") as pool:
            run = _Run(store=store, manifest=manifest, pool=pool, progress=told, num_left=decode)
            for split, entry in manifest.splits.items():
                for shard in entry.shards:
                    run.check_shard(split, shard)
    finally:
        told.close()
    check_across(run.samples, run.notes)
    _check_manifest(manifest, run.notes)
    return VerifyReport(
        findings=_by_severity(run.notes.findings),
        num_shards=sum(len(entry.shards) for entry in manifest.splits.values()),
        num_samples=manifest.num_samples,
        num_decoded=run.num_decoded,
        seconds=time.monotonic() - started,
    )


@dataclass(slots=True, kw_only=True)
class _Run:
    """What is known so far."""

    store: Store
    manifest: Manifest
    pool: ThreadPoolExecutor
    progress: Progress
    num_left: int | None
    """Samples that may still be decoded."""
    notes: Notes = field(default_factory=Notes)
    samples: list[SampleFacts] = field(default_factory=list[SampleFacts])
    num_decoded: int = 0

    def check_shard(self, split: str, shard: ShardEntry) -> None:
        """Note what is wrong with one shard, and the facts of its samples."""
        notes = self.notes
        index, content = read_index(self.store, shard, notes), read_tar(self.store, shard, notes)
        if index is None or content is None:
            self.progress.advance(STAGE, shard.num_samples)
            return
        places = [Place(path=shard.path, key=index[row].key, row=row) for row in range(len(index))]
        check_structure(shard, content, index, places, notes)
        view, jobs = memoryview(content), list[tuple[Place, bool]]()
        for place in places:
            info = index[place.row or 0]
            is_possible = check_info(self.manifest, place, info, notes)
            is_whole = check_members(place, content, info, notes)
            jobs.append((place, is_possible and is_whole and self._takes_one()))

        def look(job: tuple[Place, bool]) -> MediaFacts:
            return check_media(job[0], view, index[job[0].row or 0], decode=job[1])

        for (place, _), media in zip(jobs, self.pool.map(look, jobs), strict=True):
            notes.findings += media.findings
            group = index[place.row or 0].group
            self.samples.append(SampleFacts(place=place, split=split, group=group, media=media))
            self.progress.advance(STAGE)

    def _takes_one(self) -> bool:
        if self.num_left is not None:
            if self.num_left == 0:
                return False
            self.num_left -= 1
        self.num_decoded += 1
        return True


def _check_manifest(manifest: Manifest, notes: Notes) -> None:
    place = Place(path=MANIFEST_NAME)
    if "train" in manifest.splits and not manifest.channel_stats:
        problem = "holds no channel statistics, which models normalise by; run fmrgb stats"
        notes.info("statistics", place, problem)


def _by_severity(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    return tuple(sorted(findings, key=lambda finding: SEVERITIES.index(finding.severity)))
