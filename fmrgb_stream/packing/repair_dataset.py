"""repair(): dataset and what verify found in it -> a new dataset without the bad samples.

The tars are written anew, so whatever is wrong with them beside the samples is gone as well. As in
packing a shard appears whole or not at all, and the manifest last: the same call goes on.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import defaultdict
from collections.abc import Sequence, Set
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal

from fmrgb_stream.config import check_choice
from fmrgb_stream.distributed import usable_cores
from fmrgb_stream.errors import DatasetError, PackError, StorageError
from fmrgb_stream.packing.destination import (
    REJECTS_NAME,
    WORK_FOLDER,
    check_apart,
    check_local,
    finish,
    locked,
)
from fmrgb_stream.packing.findings import Finding, VerifyReport
from fmrgb_stream.packing.progress import Progress, SilentProgress
from fmrgb_stream.packing.sources import Reject
from fmrgb_stream.packing.statistics import publish_statistics
from fmrgb_stream.packing.workers import WorkerPool
from fmrgb_stream.sample import SampleInfo
from fmrgb_stream.shards.index import ShardIndex
from fmrgb_stream.shards.manifest import MANIFEST_NAME, Manifest, ShardEntry, SplitEntry
from fmrgb_stream.shards.writer import SampleRecord, ShardWriter, finished_shard, write_atomic
from fmrgb_stream.storage import Store
from fmrgb_stream.storage.urls import parse_location

STAGE: Final = "repair"
Drop = Literal["errors", "warnings"]
"""What a sample is left out for; warnings are errors and warnings."""
_NOTE_NAME: Final = "repair.json"
_FINGERPRINT: Final = "repair_fingerprint"


@dataclass(frozen=True, slots=True, kw_only=True)
class RepairReport:
    """What `repair` did."""

    manifest: Manifest
    dropped: tuple[Reject, ...]
    """Samples, and shards that could not be read, that are not in the new dataset."""
    warnings: tuple[str, ...]
    """Samples that are in it, though their clips cannot be made: verify had not decoded them."""
    num_resumed: int
    """Samples that an earlier run had written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Written:
    entry: ShardEntry
    infos: tuple[SampleInfo, ...]
    is_resumed: bool


def repair(
    root: str | os.PathLike[str],
    destination: str | os.PathLike[str],
    report: VerifyReport,
    *,
    drop: Drop = "errors",
    num_workers: int | None = None,
    progress: Progress | None = None,
) -> RepairReport:
    """Write a dataset of the samples that `verify` had nothing against. The same call goes on.

    Args:
        root: Folder or URL of the dataset; only read.
        destination: Folder of the new one; created.
        report: What `verify(root)` said.
        drop: `errors`, or `warnings` to leave those samples out too.
        num_workers: Processes that measure the channel statistics; None is one a usable core.
        progress: Where to report; None is nowhere.

    Raises:
        PackError: the destination holds something else, or no sample is left.
        ConfigError: the destination is a URL.
        DatasetError, StorageError: the dataset, or a shard that verify could read, cannot be read.
    """
    check_choice("drop", drop, Drop)
    check_local(destination)
    store, target = Store(root), Path(destination).expanduser().absolute()
    manifest = Manifest.load(store)
    location = parse_location(root)
    if location.is_local:
        check_apart(location.folder, target)
    bad = _bad_rows(report.findings, drop)
    fingerprint = _digest(manifest.to_json(), {path: sorted(rows) for path, rows in bad.items()})
    told = progress or SilentProgress()
    with locked(target), WorkerPool(num_workers or usable_cores()) as pool:
        _claim(target, fingerprint)
        told.start(STAGE, total=manifest.num_samples)
        try:
            splits: dict[str, list[_Written]] = {name: [] for name in manifest.splits}
            for name, split in manifest.splits.items():
                for shard in split.shards:
                    is_known = _is_unreadable(report.findings, shard)
                    written = _write_shard(store, target, shard, bad[shard.path], is_known)
                    splits[name] += [] if written is None else [written]
                    told.advance(STAGE, shard.num_samples)
        finally:
            told.close()
        dropped = _dropped(report.findings, drop)
        lines = [json.dumps(asdict(reject), ensure_ascii=False) + "\n" for reject in dropped]
        write_atomic(target / REJECTS_NAME, "".join(lines).encode("utf-8", "replace"))
        fresh = _manifest(manifest, splits, fingerprint)
        fresh, warnings = publish_statistics(
            target, fresh, max_clips=_stats_samples(manifest), pool=pool, skip_bad=True
        )
        finish(target)
    resumed = [w for written in splits.values() for w in written if w.is_resumed]
    return RepairReport(
        manifest=fresh,
        dropped=dropped,
        warnings=warnings,
        num_resumed=sum(written.entry.num_samples for written in resumed),
    )


def _is_dropped(finding: Finding, drop: Drop) -> bool:
    return finding.severity == "error" or (drop == "warnings" and finding.severity == "warning")


def _bad_rows(findings: Sequence[Finding], drop: Drop) -> defaultdict[str, set[int]]:
    rows: defaultdict[str, set[int]] = defaultdict(set)
    for finding in findings:
        if finding.row is not None and _is_dropped(finding, drop):
            rows[finding.path].add(finding.row)
    return rows


def _is_unreadable(findings: Sequence[Finding], shard: ShardEntry) -> bool:
    """Whether verify could not read the shard, or its sidecar."""
    paths = (shard.path, shard.index_path)
    return any(f.check in ("shard", "sidecar") and f.path in paths for f in findings)


def _dropped(findings: Sequence[Finding], drop: Drop) -> tuple[Reject, ...]:
    """One line for each thing found: a file's too, so that nobody looks for what it held."""
    return tuple(
        Reject(path=f"{f.path} {f.key}".rstrip(), reason=f.message, stage="verify")
        for f in findings
        if _is_dropped(f, drop)
    )


def _claim(destination: Path, fingerprint: str) -> None:
    """Make sure that the destination is empty, or holds (part of) this very repair.

    Raises:
        PackError: it holds something else.
    """
    note = destination / WORK_FOLDER / _NOTE_NAME
    manifest = destination / MANIFEST_NAME
    held: Any = None
    try:
        if note.is_file():
            held = json.loads(note.read_bytes()).get(_FINGERPRINT)
        elif manifest.is_file():
            held = json.loads(manifest.read_bytes())["pack_config"].get(_FINGERPRINT)
    except (ValueError, KeyError, TypeError, AttributeError):
        held = "unknown"
    if held != fingerprint and any(destination.iterdir()):
        raise PackError(
            f"{destination} is not empty, and what it holds is not this repair of this dataset; "
            "choose an empty folder"
        )
    write_atomic(note, json.dumps({_FINGERPRINT: fingerprint}).encode())


def _write_shard(
    store: Store, destination: Path, shard: ShardEntry, bad: Set[int], is_unreadable: bool
) -> _Written | None:
    """The shard without its bad rows; None when verify could not read it either, or none is left.

    Raises:
        StorageError, DatasetError: it cannot be read now, though verify could.
    """
    try:
        sidecar = store.read(shard.index_path)
        index = ShardIndex.from_parquet(sidecar, url=store.url_of(shard.index_path))
        content = store.read(shard.path)
    except (StorageError, DatasetError):
        if is_unreadable:
            return None  # verify has told
        raise
    rows = [row for row in range(len(index)) if row not in bad]
    if not rows:
        return None
    fingerprint = _digest(shard.path, hashlib.sha256(sidecar).hexdigest(), rows)
    found = finished_shard(destination, shard.path)
    if found is not None and found[1].metadata.get("fingerprint") == fingerprint:
        infos = tuple(found[1][row] for row in range(len(found[1])))
        return _Written(entry=found[0], infos=infos, is_resumed=True)
    writer = ShardWriter(destination, shard.path)
    try:
        for row in rows:
            writer.add(_record(index[row], content))
        entry = writer.finish({"fingerprint": fingerprint})
    except BaseException:  # Ctrl-C too: the partial tar goes, the error stays
        writer.abort()
        raise
    return _Written(entry=entry, infos=tuple(index[row] for row in rows), is_resumed=False)


def _record(info: SampleInfo, content: bytes) -> SampleRecord:
    files = {m.extension: content[m.offset : m.offset + m.size] for m in info.members}
    return SampleRecord(info=replace(info, members=()), files=files)


def _manifest(manifest: Manifest, splits: dict[str, list[_Written]], fingerprint: str) -> Manifest:
    kept = {
        name: SplitEntry(
            shards=tuple(shard.entry for shard in written),
            duration_seconds=sum(i.duration_seconds for shard in written for i in shard.infos),
            num_groups=len({info.group for shard in written for info in shard.infos}),
        )
        for name, written in splits.items()
        if written
    }
    if not kept:
        raise PackError("no sample is left: verify has something against each; pack the data again")
    config = dict(manifest.pack_config) | {_FINGERPRINT: fingerprint}
    config.pop("plan_fingerprint", None)  # it is no longer what that plan makes
    return replace(manifest, pack_config=config, splits=kept, channel_stats={}, stats_num_clips=0)


def _stats_samples(manifest: Manifest) -> int:
    """How many clips the dataset's own statistics were taken from, or would be."""
    from fmrgb_stream.config import PackConfig

    return manifest.stats_num_clips or PackConfig().stats_samples


def _digest(*parts: Any) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]
