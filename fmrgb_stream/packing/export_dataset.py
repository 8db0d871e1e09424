"""export(): dataset -> files that other programs read. Parallel and resumable.

Tables come last, from what was written; so a folder with its tables is whole. The same call goes on
where a stopped one left off.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from fmrgb_stream.config import ExportConfig
from fmrgb_stream.distributed import usable_cores
from fmrgb_stream.errors import ConfigError, PackError
from fmrgb_stream.packing.destination import check_apart, check_local, locked
from fmrgb_stream.packing.export_files import SAMPLES_A_JOB, ExportJob, export_samples
from fmrgb_stream.packing.export_tables import (
    ExportedRow,
    dataset_card,
    labels_csv,
    metadata_csv,
    samples_jsonl,
)
from fmrgb_stream.packing.progress import Progress, SilentProgress
from fmrgb_stream.packing.workers import WorkerPool
from fmrgb_stream.shards import ShardReader
from fmrgb_stream.shards.manifest import Manifest
from fmrgb_stream.shards.members import COMPANION_EXTENSIONS
from fmrgb_stream.shards.writer import write_atomic
from fmrgb_stream.storage import Store
from fmrgb_stream.storage.urls import parse_location

STAGE: Final = "export"
NOTE_NAME: Final = ".fmrgb-export.json"
_HF_SPLITS: Final = {"val": "validation"}
"""What Hugging Face calls them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportReport:
    """What `export` did."""

    num_samples: int
    num_resumed: int
    """Samples that an earlier run had written."""
    num_bytes: int
    """Of all files in the destination."""
    warnings: tuple[str, ...]
    """What the dataset holds and the form does not."""
    seconds: float


def export(
    root: str | os.PathLike[str],
    destination: str | os.PathLike[str],
    *,
    config: ExportConfig | None = None,
    progress: Progress | None = None,
) -> ExportReport:
    """Write a dataset in a form that other programs read. The same call continues a stopped run.

    Args:
        root: Folder or URL of the dataset; only read.
        destination: Folder; created, and either empty or of this very export.
        config: What form; None is `ExportConfig()`, media files with a table.
        progress: Where to report; None is nowhere.

    Raises:
        ConfigError: a split or setting that cannot be, or a destination that is a URL.
        PackError: the destination holds something else, or cannot be written to.
        MissingExtraError: the form needs a library that is not installed.
        SampleError, DatasetError, StorageError: a sample cannot be read; `fmrgb verify` tells more.
    """
    started = time.monotonic()
    check_local(destination)
    settings, told = config or ExportConfig(), progress or SilentProgress()
    store = Store(root)
    manifest, target = Manifest.load(store), Path(destination).expanduser().absolute()
    location = parse_location(root)
    if location.is_local:
        check_apart(location.folder, target)
    splits = _splits(manifest, settings)
    with locked(target):
        _claim(target, manifest, settings)
        total = sum(manifest.splits[name].num_samples for name in splits)
        told.start(STAGE, total=total)
        try:
            if settings.to == "litdata":
                from fmrgb_stream.packing.export_litdata import export_chunks

                num_resumed = export_chunks(str(root), target, manifest, splits, settings, told)
            else:
                num_resumed = _export_files(str(root), target, manifest, splits, settings, told)
        finally:
            told.close()
    return ExportReport(
        num_samples=total,
        num_resumed=num_resumed,
        num_bytes=sum(p.stat().st_size for p in target.rglob("*") if p.is_file()),
        warnings=_left_out(store, manifest, splits, settings),
        seconds=time.monotonic() - started,
    )


def _splits(manifest: Manifest, config: ExportConfig) -> list[str]:
    unknown = sorted(set(config.splits) - set(manifest.splits))
    if unknown:
        raise ConfigError(f"splits: no {unknown}; this dataset has {sorted(manifest.splits)}")
    return [name for name in manifest.splits if not config.splits or name in config.splits]


def _left_out(
    store: Store, manifest: Manifest, splits: Sequence[str], config: ExportConfig
) -> tuple[str, ...]:
    if config.to in ("folder", "pt"):
        return ()
    found: set[str] = set()
    for name in splits:
        reader = ShardReader(store, manifest.splits[name])
        infos = (reader.info(number) for number in range(reader.num_samples))
        found |= {m.extension for i in infos for m in i.members} & {*COMPANION_EXTENSIONS}
    return tuple(
        f"{extension} members are not in an export to {config.to}; --to folder writes them"
        for extension in sorted(found)
    )


def _claim(destination: Path, manifest: Manifest, config: ExportConfig) -> None:
    """Make sure that the destination is empty, or holds (part of) this very export.

    Raises:
        PackError: it holds something else; says what differs.
    """
    mine: dict[str, Any] = {**asdict(config), "dataset": _fingerprint(manifest)}
    mine.pop("num_workers")
    mine = json.loads(json.dumps(mine))
    note = destination / NOTE_NAME
    held: Any = None
    if note.is_file():
        try:
            held = json.loads(note.read_bytes())
        except ValueError:
            held = {}
        changed = [
            name for name in mine if not isinstance(held, dict) or held.get(name) != mine[name]
        ]
        if changed:
            raise PackError(
                f"{destination} holds another export ({', '.join(changed)} differ); choose another "
                "folder, or remove it"
            )
    elif any(destination.iterdir()):
        raise PackError(f"{destination} is not empty and holds no export; choose an empty folder")
    write_atomic(note, json.dumps(mine).encode())


def _fingerprint(manifest: Manifest) -> str:
    parts = [manifest.fingerprint(name) for name in sorted(manifest.splits)]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def _export_files(
    root: str,
    destination: Path,
    manifest: Manifest,
    splits: list[str],
    config: ExportConfig,
    progress: Progress,
) -> int:
    rows: list[ExportedRow] = []
    num_resumed = 0
    jobs = _jobs(root, destination, manifest, splits, config)
    with WorkerPool(config.num_workers or usable_cores()) as pool:
        for done in pool.in_order(export_samples, jobs, name_of=_name):
            rows += [row for row, _ in done]
            num_resumed += sum(was_there for _, was_there in done)
            progress.advance(STAGE, len(done))
    _write_tables(destination, rows, manifest, config)
    return num_resumed


def _jobs(
    root: str, destination: Path, manifest: Manifest, splits: list[str], config: ExportConfig
) -> Iterator[ExportJob]:
    for name in splits:
        entry = manifest.splits[name]
        for first in range(0, entry.num_samples, SAMPLES_A_JOB):
            yield ExportJob(
                root=root,
                split=name,
                entry=entry,
                samples=range(first, min(first + SAMPLES_A_JOB, entry.num_samples)),
                destination=destination,
                folder=_folder(name, config),
                config=config,
                audio_sample_rate=manifest.audio_sample_rate,
            )


def _folder(split: str, config: ExportConfig) -> str:
    return f"data/{_HF_SPLITS.get(split, split)}" if config.to == "hf" else split


def _name(job: ExportJob) -> str:
    return f"samples {job.samples.start}.. of {job.split}"


def _write_tables(
    destination: Path, rows: list[ExportedRow], manifest: Manifest, config: ExportConfig
) -> None:
    tables = {"samples.jsonl": samples_jsonl(rows, manifest)}
    if config.to == "hf":
        folders = {row.split: _folder(row.split, config) for row in rows}
        for split, folder in folders.items():
            mine = [row for row in rows if row.split == split]
            text = metadata_csv(mine, manifest, folder=folder)
            tables[f"{folder}/metadata.csv"] = text
        names = {_HF_SPLITS.get(split, split): folder for split, folder in folders.items()}
        tables["README.md"] = dataset_card(names, destination.name, manifest.classes)
    else:
        tables["labels.csv"] = labels_csv(rows, manifest)
    for path, text in tables.items():
        write_atomic(destination / path, text.encode("utf-8", "replace"))
