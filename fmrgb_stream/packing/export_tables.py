"""A split's index rows and file names -> the tables that other programs read."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from fmrgb_stream.errors import DatasetError

if TYPE_CHECKING:
    from fmrgb_stream.sample import SampleInfo
    from fmrgb_stream.shards.manifest import Manifest

_UNSAFE: Final = re.compile(r"[^A-Za-z0-9._-]+")
_MAX_NAME: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportedRow:
    """One sample that was written."""

    split: str
    path: str
    """From the destination, with forward slashes."""
    info: SampleInfo


def safe_name(key: str) -> str:
    """A file name for a key, which may hold anything: another one for each key."""
    name = _UNSAFE.sub("_", key).lstrip(".-")[:_MAX_NAME]
    if name == key:
        return name
    return f"{name}-{hashlib.sha256(key.encode()).hexdigest()[:8]}"


def labels_csv(rows: Iterable[ExportedRow], manifest: Manifest) -> str:
    """The table that `fmrgb pack` takes: path, label or targets, group, split."""
    names = [*_label_names(manifest), "group", "split"]
    table = [[row.path, *_labels(row.info, manifest), row.info.group, row.split] for row in rows]
    return _csv(["path", *names], table)


def metadata_csv(rows: Iterable[ExportedRow], manifest: Manifest, *, folder: str) -> str:
    """The table of one folder of a Hugging Face dataset: file_name first, relative to the folder."""
    header = ["file_name", *_label_names(manifest), "group", "key", "fps", "num_frames"]
    table = [
        [
            row.path.removeprefix(f"{folder}/"),
            *_labels(row.info, manifest),
            row.info.group,
            row.info.key,
            repr(row.info.fps),
            str(row.info.num_frames),
        ]
        for row in rows
    ]
    return _csv(header, table)


def samples_jsonl(rows: Iterable[ExportedRow], manifest: Manifest) -> str:
    """All that the index knows, one JSON object a line."""
    return "".join(json.dumps(facts(row, manifest), ensure_ascii=False) + "\n" for row in rows)


def facts(row: ExportedRow, manifest: Manifest) -> dict[str, Any]:
    """What one sample is, as plain JSON values."""
    info = row.info
    return {
        "key": info.key,
        "path": row.path,
        "split": row.split,
        "group": info.group,
        "label": info.label,
        "label_name": _class_name(info, manifest),
        "targets": _targets(info, manifest),
        "fps": info.fps,
        "num_frames": info.num_frames,
        "duration_seconds": info.duration_seconds,
        "has_video": info.has_video,
        "has_audio": info.has_audio,
    }


def dataset_card(splits: Mapping[str, str], name: str, classes: Sequence[str]) -> str:
    """README.md of a Hugging Face dataset: which files are which split."""
    lines = ["---", "configs:", "- config_name: default", "  data_files:"]
    for split, folder in splits.items():
        lines += [f"  - split: {split}", f"    path: {json.dumps(folder + '/**')}"]
    lines += ["---", "", f"# {name}", "", "Videos with sound, exported by fmrgb_stream."]
    if classes:
        lines += ["", f"Classes: {', '.join(classes)}."]
    return "\n".join(lines) + "\n"


def _label_names(manifest: Manifest) -> list[str]:
    if manifest.classes:
        return ["label"]
    return list(manifest.target_names)


def _labels(info: SampleInfo, manifest: Manifest) -> list[str]:
    if manifest.classes:
        return [_class_name(info, manifest) or ""]
    return [repr(value) for value in info.targets or ()]


def _targets(info: SampleInfo, manifest: Manifest) -> dict[str, float] | None:
    if info.targets is None:
        return None
    if len(info.targets) != len(manifest.target_names):
        raise DatasetError(
            f"sample {info.key!r} has {len(info.targets)} targets, but there are "
            f"{len(manifest.target_names)} names; fmrgb verify --repair leaves such samples out"
        )
    return dict(zip(manifest.target_names, info.targets, strict=True))


def _class_name(info: SampleInfo, manifest: Manifest) -> str | None:
    if info.label is None:
        return None
    if not 0 <= info.label < len(manifest.classes):
        raise DatasetError(
            f"sample {info.key!r} has label {info.label}, but there are {len(manifest.classes)} "
            "classes; fmrgb verify --repair leaves such samples out"
        )
    return manifest.classes[info.label]


def _csv(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return buffer.getvalue()
