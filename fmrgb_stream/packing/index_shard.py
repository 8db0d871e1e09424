"""One tar of another maker -> a sidecar without labels yet, and DALI's index; its tar stays.

What an earlier run found out is kept: probing is what takes time.
"""

from __future__ import annotations

import functools
import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from fmrgb_stream.config import IndexConfig
from fmrgb_stream.distributed import usable_cores
from fmrgb_stream.errors import DatasetError, ManifestError, RejectedInput
from fmrgb_stream.packing.index_labels import Said, what_it_says
from fmrgb_stream.packing.index_media import IndexedSample, index_media
from fmrgb_stream.packing.index_tar import TarListing, TarSample, dali_index, list_tar
from fmrgb_stream.packing.sources import Reject
from fmrgb_stream.sample import SampleInfo
from fmrgb_stream.shards.index import ShardIndex, index_to_parquet
from fmrgb_stream.shards.writer import write_atomic


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundShard:
    """One shard before its samples have labels."""

    path: str
    infos: tuple[SampleInfo, ...]
    """With the keys of the tar."""
    noted: dict[str, Any]
    """What the sidecar keeps beside the rows."""
    is_resumed: bool

    @property
    def said(self) -> list[Said]:
        """What each sample says of itself."""
        return self.noted["said"]


def look_into(source: Path, destination: Path, path: str, config: IndexConfig) -> FoundShard:
    """Look into one tar; its sidecar is written, or found as an earlier run left it.

    Raises:
        DatasetError: not a whole tar, or something else has its name in the destination.
    """
    content = (source / path).read_bytes()
    _link(source / path, destination / path)
    sha256 = hashlib.sha256(content).hexdigest()
    sidecar = (destination / path).with_suffix(".parquet")
    fingerprint = _fingerprint(sha256, config)
    kept = _kept(sidecar, path, fingerprint)
    dali_path = sidecar.with_suffix(".idx")
    if kept is not None and (dali_path.is_file() or not config.dali_idx):
        return kept
    listing = list_tar(content, url=str(source / path))
    if config.dali_idx and listing.samples:
        write_atomic(dali_path, dali_index(listing.samples).encode())
    if kept is not None:
        return kept
    found = _sort_out(path, listing, memoryview(content), config)
    noted = found.noted | {
        "fingerprint": fingerprint,
        "tar_sha256": sha256,
        "tar_num_bytes": len(content),
        "key_prefix": "",
    }
    write_atomic(sidecar, index_to_parquet(found.infos, metadata=noted))
    return replace(found, noted=noted)


def _fingerprint(sha256: str, config: IndexConfig) -> str:
    settings = (
        *(config.label, config.group, config.targets, config.audio_sample_rate),
        *(config.virtual_fps, config.max_pixels, config.max_duration_seconds),
    )
    return hashlib.sha256(json.dumps([sha256, settings]).encode()).hexdigest()[:32]


def _sort_out(
    path: str, listing: TarListing, content: memoryview, config: IndexConfig
) -> FoundShard:
    """What can be used of a tar, and what not."""
    workers = config.num_workers or usable_cores()
    with ThreadPoolExecutor(workers, thread_name_prefix="fmrgb-index") as threads:
        attempt = functools.partial(_try, content=content, config=config)
        results = list(threads.map(attempt, listing.samples))
    infos: list[SampleInfo] = []
    said, left_out, warnings = list[Said](), list(listing.others), list[str]()
    rejects = [_reject(path, name, "no sample: not KEY.EXTENSION") for name in listing.others]
    seen: set[str] = set()
    for sample, result in zip(listing.samples, results, strict=True):
        reason = result if isinstance(result, str) else ""
        if sample.key in seen:
            reason = "its key stands in this tar before"
        seen.add(sample.key)
        if isinstance(result, str) or reason:
            left_out += sample.names()
            rejects.append(_reject(path, sample.key, reason))
            continue
        infos.append(result.info)
        said.append(what_it_says(sample, content, config))
        warnings += [f"{path} {sample.key}: {text}" for text in result.warnings]
    noted = {"said": said, "left_out": left_out, "rejects": rejects, "warnings": warnings}
    return FoundShard(path=path, infos=tuple(infos), noted=noted, is_resumed=False)


def _try(sample: TarSample, content: memoryview, config: IndexConfig) -> IndexedSample | str:
    """The sample, or why it cannot be used."""
    try:
        return index_media(sample, content, config)
    except RejectedInput as error:
        return error.reason


def _reject(path: str, name: str, reason: str) -> dict[str, Any]:
    return asdict(Reject(path=f"{path} {name}", reason=reason, stage="index"))


def _link(tar: Path, place: Path) -> None:
    """The tar under the name that the manifest gives it."""
    if tar == place or (place.is_symlink() and place.resolve() == tar.resolve()):
        return
    if place.exists() or place.is_symlink():
        raise DatasetError(f"{place} is there already and is not {tar}; choose an empty --out")
    place.parent.mkdir(parents=True, exist_ok=True)
    place.symlink_to(tar)


def _kept(sidecar: Path, path: str, fingerprint: str) -> FoundShard | None:
    """The shard as an earlier run left it, if tar and settings are the same."""
    try:
        rows = ShardIndex.from_parquet(sidecar.read_bytes(), url=str(sidecar))
    except (OSError, ManifestError):
        return None
    if rows.metadata.get("fingerprint") != fingerprint:
        return None
    prefix = rows.metadata["key_prefix"]
    infos = [rows[row] for row in range(len(rows))]
    infos = [replace(info, key=info.key.removeprefix(prefix)) for info in infos]
    return FoundShard(path=path, infos=tuple(infos), noted=rows.metadata, is_resumed=True)
