"""pack(): source -> probe -> plan -> transcode -> shards -> manifest. Parallel and resumable.

A shard appears whole or not at all, and says which plan it belongs to; so a run that was stopped,
at any point and in any way, is continued by the same command and ends in the same bytes.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final

from fmrgb_stream.config import PackConfig
from fmrgb_stream.errors import ManifestError, PackError, RejectedInput
from fmrgb_stream.packing.bucket import pack_to_bucket, staging_folder
from fmrgb_stream.packing.companions import (
    companion_folders,
    with_companions,
    without_companions,
)
from fmrgb_stream.packing.destination import (
    check_apart,
    claim,
    finish,
    locked,
    scratch_root,
)
from fmrgb_stream.packing.faces import load_face_detector
from fmrgb_stream.packing.plan import PackPlan, PlannedShard, make_plan
from fmrgb_stream.packing.pools import JobPool, open_pool
from fmrgb_stream.packing.probing import probe_inputs
from fmrgb_stream.packing.progress import Progress, SilentProgress
from fmrgb_stream.packing.publish import BuiltShard, PackReport, nothing_left, publish
from fmrgb_stream.packing.sources import Reject, SourceListing, list_source
from fmrgb_stream.packing.task import Task, task_of
from fmrgb_stream.packing.transcode import Packed, make_record
from fmrgb_stream.packing.trouble import machine_trouble, no_fault_of_input
from fmrgb_stream.sample import SampleInfo
from fmrgb_stream.shards.manifest import ShardEntry
from fmrgb_stream.shards.writer import ShardWriter, finished_shard
from fmrgb_stream.storage.urls import parse_location

logger = logging.getLogger(__name__)

STAGE: Final = "pack"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    """One sample for a packing process."""

    task: Task
    config: PackConfig
    scratch: Path


def pack(
    source: str | os.PathLike[str],
    destination: str | os.PathLike[str],
    *,
    config: PackConfig | None = None,
    overwrite: bool = False,
    staging: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
) -> PackReport:
    """Turn a folder or table of media into a dataset. The same call continues a stopped run.

    Args:
        source: Folder of media, or a .csv / .jsonl table. Never written to.
        destination: Folder of the dataset, created; or an s3://, gs:// or az:// URL.
        config: How; None is `PackConfig()`.
        overwrite: Replace a dataset of other input or settings.
        staging: Where a dataset for a bucket is made before its upload, and removed afterwards. The
            same folder continues a stopped run. None is one in ~/.cache/fmrgb_stream.
        progress: Where to report; None is nowhere.

    With more than one worker, processes import the main module again, as Python's `multiprocessing`
    has it: a script that calls this needs `if __name__ == "__main__":` around it.

    Raises:
        SourceError: the source holds nothing usable, or its table is wrong.
        StorageError: the bucket cannot be read or written.
        PackError: the destination cannot be used, a process died, the disk is full (or the machine
            failed in another way), no Ray cluster answers, or no input could be packed.
        MissingExtraError: the settings need a library that is not installed.
        KeyboardInterrupt: stopped by the user; what is finished is kept.
    """
    started = time.monotonic()
    config = _plain(config or PackConfig())
    source, told = Path(source).expanduser(), progress or SilentProgress()
    location = parse_location(destination)
    if not location.is_local:
        return pack_to_bucket(
            partial(pack, source, config=config, overwrite=overwrite, progress=progress),
            location,
            staging=Path(staging).expanduser() if staging else staging_folder(location),
            overwrite=overwrite,
            progress=told,
        )
    target = location.folder
    if config.crop == "face":
        load_face_detector()  # told now, not for each file
    listing = list_source(source, parser=config.parser)
    items, left_out = without_companions(listing.items, config)
    listing = replace(listing, items=tuple(items), skipped=(*listing.skipped, *left_out))
    check_apart(source, target)
    try:
        with (
            no_fault_of_input(),
            locked(target),
            open_pool(config, source=source, destination=target) as pool,
        ):
            plan = _probe_and_plan(listing, target, config, pool, told, overwrite=overwrite)
            built = _build_shards(plan, listing, target, config, pool, told)
            report = publish(plan, listing, target, config, built, pool)
            finish(target)
    finally:
        told.close()
    return replace(report, seconds=time.monotonic() - started)


def _plain(config: PackConfig) -> PackConfig:
    """The config as it can travel to another process: a read-only mapping cannot."""
    return replace(config, splits=dict(config.splits))


def _probe_and_plan(
    listing: SourceListing,
    destination: Path,
    config: PackConfig,
    pool: JobPool,
    progress: Progress,
    *,
    overwrite: bool,
) -> PackPlan:
    probe = partial(
        probe_inputs,
        config=config,
        pool=pool,
        cache_path=destination / ".pack" / "probes.jsonl",
        progress=progress,
    )
    inputs, rejects = probe(listing.items)
    if companion_folders(config):
        inputs, misfits = with_companions(inputs, config, probe=probe)
        rejects += misfits
    plan = make_plan(inputs, classes=listing.classes, config=config)
    plan = replace(plan, rejects=(*listing.rejects, *rejects, *plan.rejects))
    if not plan.shards:
        raise nothing_left(plan.rejects)
    claim(destination, plan, config, overwrite=overwrite)
    return plan


def _build_shards(
    plan: PackPlan,
    listing: SourceListing,
    destination: Path,
    config: PackConfig,
    pool: JobPool,
    progress: Progress,
) -> list[BuiltShard]:
    """Every shard of the plan, in its order; those that are finished already are kept."""
    found = {shard.path: _finished(destination, shard) for shard in plan.shards}
    todo = [shard for shard in plan.shards if found[shard.path] is None]
    num_missing = sum(len(shard.samples) for shard in todo)
    progress.start(STAGE, total=plan.num_samples, kept=plan.num_samples - num_missing)
    scratch = scratch_root(destination)
    jobs = (
        _Job(
            task=task_of(plan, sample, classes=listing.classes, config=config),
            config=config,
            scratch=scratch,
        )
        for shard in todo
        for sample in shard.samples
    )
    # One stream of jobs over all shards, so that no process waits where one shard ends.
    named = pool.in_order(_pack_one, jobs, name_of=lambda job: job.task.item.relative)
    with contextlib.closing(named) as results:
        for shard in todo:
            found[shard.path] = _write_shard(destination, shard, results, progress)
    return [built for built in found.values() if built is not None]


def _pack_one(job: _Job) -> Packed | Reject:
    """Make one sample; runs in a packing process.

    Raises:
        PackError: the machine failed, which says nothing of the input.
    """
    task = job.task
    where = f" (from {task.offset_seconds:.2f} s)" if task.is_cut else ""
    scratch = job.scratch / f"{socket.gethostname()}-{os.getpid()}"
    with no_fault_of_input():
        scratch.mkdir(exist_ok=True)
    try:
        return make_record(task, job.config, scratch=scratch)
    except AssertionError:
        raise
    except Exception as error:  # a hostile file must not stop the others
        if isinstance(error, PackError) and not isinstance(error, RejectedInput):
            raise
        trouble = machine_trouble(error, task.item.path)
        if trouble is not None:
            raise trouble from error
        reason = _reason(error, task)
    return Reject(path=f"{task.item.relative}{where}", reason=reason, stage="transcode")


def _reason(error: Exception, task: Task) -> str:
    if isinstance(error, RejectedInput):
        return error.reason
    if isinstance(error, OSError):
        return f"cannot be read: {error}"
    logger.debug("packing %s failed", task.item.path, exc_info=error)
    return f"packing failed: {error!r}"


def _write_shard(
    destination: Path,
    shard: PlannedShard,
    results: Iterator[Packed | Reject],
    progress: Progress,
) -> BuiltShard:
    writer = ShardWriter(destination, shard.path)
    infos: list[SampleInfo] = []
    rejects: list[Reject] = []
    warnings: list[str] = []
    try:
        for _ in shard.samples:
            result = next(results)
            if isinstance(result, Reject):
                rejects.append(result)
            else:
                writer.add(result.record)
                infos.append(result.record.info)
                warnings += result.warnings
            progress.advance(STAGE)
        entry = writer.finish(
            {
                "fingerprint": shard.fingerprint,
                "rejects": [asdict(reject) for reject in rejects],
                "warnings": warnings,
            }
        )
    except BaseException:  # Ctrl-C too: the partial tar goes, the error stays
        writer.abort()
        raise
    return _built(shard, entry, infos, rejects, warnings, is_resumed=False)


def _finished(destination: Path, shard: PlannedShard) -> BuiltShard | None:
    """The shard as an earlier run left it, if it is whole and of this plan."""
    try:
        found = finished_shard(destination, shard.path)
    except ManifestError as error:
        logger.warning("%s is packed again: %s", shard.path, error)
        return None
    if found is None or found[1].metadata.get("fingerprint") != shard.fingerprint:
        return None
    entry, index = found
    noted = index.metadata
    infos = [index[row] for row in range(len(index))]
    rejects = [Reject(**reject) for reject in noted["rejects"]]
    return _built(shard, entry, infos, rejects, noted["warnings"], is_resumed=True)


def _built(
    shard: PlannedShard,
    entry: ShardEntry,
    infos: Sequence[SampleInfo],
    rejects: Sequence[Reject],
    warnings: Sequence[str],
    *,
    is_resumed: bool,
) -> BuiltShard:
    return BuiltShard(
        split=shard.split,
        entry=entry,
        duration_seconds=sum(info.duration_seconds for info in infos),
        groups=frozenset(info.group for info in infos),
        rejects=tuple(rejects),
        warnings=tuple(warnings),
        is_resumed=is_resumed,
    )
