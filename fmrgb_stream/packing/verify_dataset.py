"""verify(): dataset root -> findings. Every byte is hashed, every index row compared, frames counted."""

from __future__ import annotations

import functools
import hashlib
import io
import os
import tarfile
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

import google_crc32c

from fmrgb_stream.config import check_count
from fmrgb_stream.distributed import usable_cores
from fmrgb_stream.errors import ConfigError, DatasetError, StorageError
from fmrgb_stream.packing.findings import Notes, VerifyReport
from fmrgb_stream.packing.progress import Progress, SilentProgress
from fmrgb_stream.packing.verify_media import check_media
from fmrgb_stream.sample import SampleInfo
from fmrgb_stream.shards.index import ShardIndex
from fmrgb_stream.shards.manifest import Manifest, ShardEntry
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
        root: Folder (or file:// URL) of manifest.json.
        decode: At most this many samples have their frames counted by decoding, the way a loader
            decodes them by default; None is all.
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
    notes, told = Notes(), progress or SilentProgress()
    shards = [(name, shard) for name, split in manifest.splits.items() for shard in split.shards]
    told.start(STAGE, total=manifest.num_samples)
    infos: list[tuple[str, ShardEntry, SampleInfo]] = []
    num_decoded = 0
    try:
        with ThreadPoolExecutor(
            num_workers or usable_cores(), thread_name_prefix="fmrgb-verify"
        ) as pool:
            for split, shard in shards:
                budget = None if decode is None else max(0, decode - num_decoded)
                checked = _check_shard(store, manifest, shard, notes, pool, budget)
                infos += [(split, shard, info) for info in checked.infos]
                num_decoded += checked.num_decoded
                told.advance(STAGE, shard.num_samples)
    finally:
        told.close()
    _check_across(infos, notes)
    return VerifyReport(
        findings=tuple(notes.findings),
        num_shards=len(shards),
        num_samples=manifest.num_samples,
        num_decoded=num_decoded,
        seconds=time.monotonic() - started,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Checked:
    infos: tuple[SampleInfo, ...] = ()
    num_decoded: int = 0


def _check_shard(
    store: Store,
    manifest: Manifest,
    shard: ShardEntry,
    notes: Notes,
    pool: ThreadPoolExecutor,
    budget: int | None,
) -> _Checked:
    index = _read_index(store, shard, notes)
    try:
        content = store.read(shard.path)
    except StorageError as error:
        notes.error(shard.path, f"cannot be read: {error}")
        return _Checked()
    if len(content) != shard.num_bytes:
        notes.error(shard.path, f"is {len(content)} bytes, the manifest says {shard.num_bytes}")
    elif hashlib.sha256(content).hexdigest() != shard.sha256:
        notes.error(shard.path, "its sha256 is not the manifest's: some byte has changed")
    if index is None:
        return _Checked()
    infos = tuple(index[row] for row in range(len(index)))
    if len(infos) != shard.num_samples:
        notes.error(
            shard.index_path, f"has {len(infos)} rows, the manifest says {shard.num_samples}"
        )
    _check_structure(shard, content, infos, notes)
    for info in infos:
        _check_labels(manifest, shard, info, notes)
    whole = [info for info in infos if _members_are_whole(shard, content, info, notes)]
    chosen = whole if budget is None else whole[:budget]
    for found in pool.map(functools.partial(check_media, shard, content), chosen):
        notes.findings += found
    return _Checked(infos=infos, num_decoded=len(chosen))


def _read_index(store: Store, shard: ShardEntry, notes: Notes) -> ShardIndex | None:
    try:
        sidecar = store.read(shard.index_path)
        if hashlib.sha256(sidecar).hexdigest() != shard.index_sha256:
            notes.error(shard.index_path, "its sha256 is not the manifest's")
        return ShardIndex.from_parquet(sidecar, url=store.url_of(shard.index_path))
    except (StorageError, DatasetError) as error:
        notes.error(shard.index_path, f"cannot be read: {error}")
        return None


def _check_structure(
    shard: ShardEntry, content: bytes, infos: Sequence[SampleInfo], notes: Notes
) -> None:
    """The tar's own headers against the sidecar's rows."""
    listed = {
        f"{info.key}.{member.extension}": (member.offset, member.size)
        for info in infos
        for member in info.members
    }
    try:
        with tarfile.open(fileobj=io.BytesIO(content), mode="r:") as tar:
            found = {entry.name: (entry.offset_data, entry.size) for entry in tar}
    except (tarfile.TarError, EOFError, ValueError) as error:
        notes.error(shard.path, f"is not a whole tar: {error}")
        return
    for name in sorted(set(listed) | set(found)):
        if name not in found:
            notes.error(shard.path, f"lacks the member {name}, which its index has")
        elif name not in listed:
            notes.error(shard.path, f"holds {name}, which its index does not have")
        elif listed[name] != found[name]:
            notes.error(
                shard.path,
                f"{name} lies at {found[name]} (offset, size), its index says {listed[name]}",
            )


def _check_labels(manifest: Manifest, shard: ShardEntry, info: SampleInfo, notes: Notes) -> None:
    place = f"{shard.path} {info.key}"
    if info.label is not None and not 0 <= info.label < len(manifest.classes):
        notes.error(place, f"label {info.label}, but there are {len(manifest.classes)} classes")
    if len(info.targets or ()) != len(manifest.target_names):
        notes.error(
            place, f"{len(info.targets or ())} targets, but {len(manifest.target_names)} names"
        )
    if info.has_audio and info.has_video:
        sound = info.num_audio_samples / info.audio_sample_rate
        if abs(sound - info.duration_seconds) > 1 / info.fps:
            notes.error(
                place, f"{sound:.3f} s of sound beside {info.duration_seconds:.3f} s of picture"
            )


def _members_are_whole(shard: ShardEntry, content: bytes, info: SampleInfo, notes: Notes) -> bool:
    broken = [
        member.extension
        for member in info.members
        if google_crc32c.value(content[member.offset : member.offset + member.size])
        != member.crc32c
    ]
    for extension in broken:
        notes.error(f"{shard.path} {info.key}.{extension}", "its crc32c is not the index's")
    return not broken


def _check_across(infos: Iterable[tuple[str, ShardEntry, SampleInfo]], notes: Notes) -> None:
    """What no shard can tell alone: keys twice, groups in two splits."""
    keys: dict[str, str] = {}
    groups: dict[str, set[str]] = {}
    for split, shard, info in infos:
        if info.key in keys:
            notes.error(f"{shard.path} {info.key}", f"the same key stands in {keys[info.key]}")
        keys[info.key] = shard.path
        groups.setdefault(info.group, set()).add(split)
    for group, splits in _leaks(groups):
        notes.error("manifest.json", f"group {group!r} stands in the splits {', '.join(splits)}")


def _leaks(groups: dict[str, set[str]]) -> Iterator[tuple[str, list[str]]]:
    return ((name, sorted(splits)) for name, splits in sorted(groups.items()) if len(splits) > 1)
