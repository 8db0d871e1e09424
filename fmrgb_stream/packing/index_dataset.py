"""index(): WebDataset tars of others -> sidecars, DALI indexes and a manifest. The tars stay.

First each shard is looked into and its sidecar written, with what its samples say of themselves;
then labels, which need all shards, are put in, and the manifest comes last. The same call goes on.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

from fmrgb_stream.config import IndexConfig
from fmrgb_stream.distributed import usable_cores
from fmrgb_stream.errors import DatasetError, SourceError
from fmrgb_stream.packing.destination import REJECTS_NAME, check_apart, check_local, locked
from fmrgb_stream.packing.index_labels import Labels, find_labels, find_targets, group_of
from fmrgb_stream.packing.index_shard import FoundShard, look_into
from fmrgb_stream.packing.progress import Progress, SilentProgress
from fmrgb_stream.packing.sources import Reject
from fmrgb_stream.packing.statistics import publish_statistics
from fmrgb_stream.packing.workers import WorkerPool
from fmrgb_stream.sample import SampleInfo
from fmrgb_stream.shards.index import index_to_parquet
from fmrgb_stream.shards.manifest import MANIFEST_NAME, Manifest, ShardEntry, SplitEntry
from fmrgb_stream.shards.writer import write_atomic

STAGE: Final = "index"
_MARK: Final = "indexed"
_SPLITS: Final = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev", "eval"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexReport:
    """What `index` did."""

    manifest: Manifest
    rejects: tuple[Reject, ...]
    """Samples that cannot be used, and files that are no sample."""
    warnings: tuple[str, ...]
    label_source: str
    """Where the classes were found; empty when there are none."""
    num_resumed: int
    """Samples whose sidecar an earlier run had written."""
    seconds: float


def index(
    source: str | os.PathLike[str],
    destination: str | os.PathLike[str] | None = None,
    *,
    config: IndexConfig | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> IndexReport:
    """Make a dataset of tar shards that any WebDataset writer made; nothing is copied.

    Args:
        source: Folder of .tar files, at any depth.
        destination: Folder for sidecars and manifest, with links to the tars; None writes them
            beside the tars.
        config: How; None is `IndexConfig()`.
        overwrite: Replace the manifest of a dataset that was not made by this.
        progress: Where to report; None is nowhere.

    Raises:
        SourceError: there are no tars, or no sample of them can be used.
        DatasetError: a tar is broken or compressed, or the destination holds a packed dataset.
        ConfigError: labels or targets are not what the settings say, or the destination is a URL.
        PackError: the destination cannot be written to, or lies in the source.
    """
    started = time.monotonic()
    settings, told = config or IndexConfig(), progress or SilentProgress()
    if "://" in os.fspath(source):
        raise SourceError(
            f"{source}: tars are looked into as files; mount the bucket or copy them, run this with "
            "--out, and put what it writes beside the tars"
        )
    folder = Path(source).expanduser().absolute()
    target = folder
    if destination is not None:
        check_local(destination)
        target = Path(destination).expanduser().absolute()
    if target != folder and folder.is_dir():
        check_apart(folder, target)  # or the next run would take the links for more tars
    paths = _find_tars(folder)
    with locked(target), WorkerPool(settings.num_workers or usable_cores()) as pool:
        _check_free(target, overwrite=overwrite)
        told.start(STAGE, total=len(paths))
        try:
            shards: list[FoundShard] = []
            for path in paths:
                shards.append(look_into(folder, target, path, settings))
                told.advance(STAGE)
        finally:
            told.close()
        report = _publish(target, shards, settings, pool)
    return replace(report, seconds=time.monotonic() - started)


def _find_tars(folder: Path) -> list[str]:
    if not folder.is_dir():
        raise SourceError(f"{folder} is no folder of tar shards")
    found = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*.tar") if p.is_file())
    if not found:
        packed = [p.name for p in folder.rglob("*") if p.name.endswith((".tar.gz", ".tgz"))]
        cure = f"; decompress {packed[0]} and the others first" if packed else ""
        raise SourceError(f"{folder} holds no .tar file{cure}")
    return found


def _check_free(destination: Path, *, overwrite: bool) -> None:
    if not os.access(destination, os.W_OK):
        raise DatasetError(
            f"{destination} cannot be written to; give --out FOLDER for sidecars and manifest"
        )
    manifest = destination / MANIFEST_NAME
    if not manifest.is_file() or overwrite:
        return
    try:
        is_ours = _MARK in json.loads(manifest.read_bytes())["pack_config"]
    except (ValueError, KeyError, TypeError):
        is_ours = False
    if not is_ours:
        raise DatasetError(
            f"{manifest} is not of an indexed dataset, but of a packed one or something else; give "
            "--out FOLDER, or --overwrite to replace the manifest and the sidecars"
        )


def _publish(
    destination: Path, shards: Sequence[FoundShard], config: IndexConfig, pool: WorkerPool
) -> IndexReport:
    said = [one for shard in shards for one in shard.said]
    rejects = tuple(Reject(**one) for shard in shards for one in shard.noted["rejects"])
    if not said:
        shown = "; ".join(f"{reject.path}: {reject.reason}" for reject in rejects[:4])
        raise SourceError(f"no sample of {len(shards)} tars can be used. {shown}")
    labels = find_labels(said, config.label)
    target_names, targets = find_targets(said, config.targets)
    counts = Counter(info.key for shard in shards for info in shard.infos)
    is_repeated = any(count > 1 for count in counts.values())
    splits: dict[str, list[tuple[ShardEntry, Sequence[SampleInfo]]]] = {}
    first = 0
    for shard in shards:
        last = first + len(shard.infos)
        infos = _labelled(shard, labels, targets, range(first, last), config, is_repeated)
        first = last
        if infos:
            split = config.split or split_of(shard.path)
            entry = _write_sidecar(destination, shard, infos, is_repeated)
            splits.setdefault(split, []).append((entry, infos))
    lines = [json.dumps(asdict(reject), ensure_ascii=False) + "\n" for reject in rejects]
    write_atomic(destination / REJECTS_NAME, "".join(lines).encode("utf-8", "replace"))
    manifest = Manifest(
        pack_config={
            "audio_sample_rate": config.audio_sample_rate,
            _MARK: {"label": labels.source, "group": config.group},
        },
        classes=labels.classes,
        target_names=target_names,
        splits={name: _split_entry(splits[name]) for name in _in_order(splits)},
        channel_stats={},
    )
    manifest, bad_clips = publish_statistics(
        destination, manifest, max_clips=config.stats_samples, pool=pool, skip_bad=True
    )
    return IndexReport(
        manifest=manifest,
        rejects=rejects,
        warnings=(*(text for shard in shards for text in shard.noted["warnings"]), *bad_clips),
        label_source=labels.source,
        num_resumed=sum(len(shard.infos) for shard in shards if shard.is_resumed),
        seconds=0.0,
    )


def _labelled(
    shard: FoundShard,
    labels: Labels,
    targets: Sequence[tuple[float, ...] | None],
    places: range,
    config: IndexConfig,
    is_repeated: bool,
) -> list[SampleInfo]:
    prefix = _prefix(shard, is_repeated)
    return [
        replace(
            info,
            key=prefix + info.key,
            group=group_of(said, prefix + info.key, config.group),
            label=labels.labels[place],
            targets=targets[place],
        )
        for info, said, place in zip(shard.infos, shard.said, places, strict=True)
    ]


def _prefix(shard: FoundShard, is_repeated: bool) -> str:
    """Keys that stand in several shards get their shard's name in front, all of them."""
    return shard.path.removesuffix(".tar") + "/" if is_repeated else ""


def _write_sidecar(
    destination: Path, shard: FoundShard, infos: Sequence[SampleInfo], is_repeated: bool
) -> ShardEntry:
    noted: dict[str, Any] = shard.noted | {"key_prefix": _prefix(shard, is_repeated)}
    sidecar = index_to_parquet(infos, metadata=noted)
    write_atomic((destination / shard.path).with_suffix(".parquet"), sidecar)
    return ShardEntry(
        path=shard.path,
        num_samples=len(infos),
        num_bytes=noted["tar_num_bytes"],
        sha256=noted["tar_sha256"],
        index_sha256=hashlib.sha256(sidecar).hexdigest(),
    )


def _split_entry(shards: Sequence[tuple[ShardEntry, Sequence[SampleInfo]]]) -> SplitEntry:
    infos = [info for _, listed in shards for info in listed]
    return SplitEntry(
        shards=tuple(entry for entry, _ in shards),
        duration_seconds=sum(info.duration_seconds for info in infos),
        num_groups=len({info.group for info in infos}),
    )


def _in_order(splits: dict[str, Any]) -> list[str]:
    usual = ["train", "val", "test"]
    return sorted(splits, key=lambda name: (usual.index(name) if name in usual else 3, name))


def split_of(path: str) -> str:
    """The split that a shard's name or folder speaks of; train where it speaks of none."""
    for part in reversed(path.removesuffix(".tar").split("/")):
        for word in re.split(r"[^a-z]+", part.lower()):
            if word in _SPLITS:
                return _SPLITS[word]
    return "train"
