"""Any model's embedding of every window of every sample -> one file a sample.

    <out>/features.json             what they were made with; another run has to agree to go on
    <out>/<split>/<key>.npy         float32 [windows, D]; or .parquet: time_seconds, feature
    <out>/<split>.parquet           a row a sample: key, group, label, file, windows, times_seconds

Files arrive in the order of the samples, each whole or absent, so a run that was killed goes on at
the first one that is missing: at the start of the global batch that holds it, so that every number
comes out of the same batch, and with the same bits, as without the interruption.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, cast
from urllib.parse import quote

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from accelerate.utils import broadcast_object_list

from fmrgb_stream.clips.sampling import plan_clip
from fmrgb_stream.clips.windows import windows_by_shard
from fmrgb_stream.errors import ConfigError
from fmrgb_stream.shards.writer import write_atomic
from fmrgb_stream.training.evaluation import GatheredBatch, run_model

if TYPE_CHECKING:
    from accelerate import Accelerator
    from numpy.typing import NDArray

    from fmrgb_stream.config import ClipConfig
    from fmrgb_stream.loader import ClipLoader
    from fmrgb_stream.models import ClipModel
    from fmrgb_stream.sample import SampleInfo
    from fmrgb_stream.shards import ShardReader

FeatureFormat = Literal["npy", "parquet"]
SETTINGS_NAME: Final = "features.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureReport:
    """What `extract_features` did with one split."""

    split: str
    num_samples: int
    num_kept: int
    """Samples whose files were there already."""
    num_windows: int
    num_features: int
    """D."""
    unreadable: tuple[str, ...]
    """Keys of samples that could not be read: they have no file."""


def extract_features(
    model: ClipModel,
    loader: ClipLoader,
    *,
    reader: ShardReader,
    out: Path,
    file_format: FeatureFormat,
    accelerator: Accelerator,
    on_windows: Callable[[int, int], None] | None = None,
) -> FeatureReport:
    """Write the files of one split; those that are there are kept.

    Args:
        model: In evaluation mode, on the accelerator's device.
        loader: The split in order, with tail="pad"; its clip says what a window is.
        reader: Of the same split.
        out: Folder; `begin_folder` has been there.
        file_format: `npy` or `parquet`.
        accelerator: The first of its processes writes.
        on_windows: Told (windows done, windows of the split) at the start and with each batch.
    """
    counts = _window_counts(reader, loader.clip)
    ends = np.cumsum(counts)
    folder = out / loader.split
    names = [file_name(reader.info(i).key, file_format) for i in range(len(counts))]
    missing = _first_missing(folder, names, accelerator)
    first_item = int(ends[missing - 1]) if missing else 0
    start = _go_to(loader, first_item) if missing < len(counts) else int(ends[-1])
    done, total = start, int(ends[-1])
    if on_windows is not None:
        on_windows(done, total)
    writer = FeatureWriter(folder, reader=reader, counts=counts, first_sample=missing,
                           file_format=file_format)  # fmt: skip
    batches = iter(loader) if missing < len(counts) else iter(())
    for rows in run_model(model.embed, batches, accelerator=accelerator, fields=model.batch_fields):
        done += len(rows.outputs)
        if accelerator.is_main_process:
            writer.add(rows)
        if on_windows is not None:
            on_windows(done, total)
    if accelerator.is_main_process:
        _write_index(out, loader, reader, names, counts)
    return FeatureReport(
        split=loader.split,
        num_samples=len(counts),
        num_kept=missing,
        num_windows=total,
        num_features=model.num_features,
        unreadable=tuple(writer.unreadable),
    )


class FeatureWriter:
    """Collects the windows of a sample and writes them when all are there."""

    def __init__(
        self,
        folder: Path,
        *,
        reader: ShardReader,
        counts: NDArray[np.int64],
        first_sample: int,
        file_format: FeatureFormat,
    ) -> None:
        """Write only samples from `first_sample` on; `counts` are windows a sample, int64 [N]."""
        self._folder, self._reader, self._counts = folder, reader, counts
        self._first_sample, self._format = first_sample, file_format
        self._sample = -1
        self._features: list[NDArray[np.float32]] = []
        self._times: list[NDArray[np.float64]] = []
        self._is_bad = False
        self.unreadable: list[str] = []

    def add(self, rows: GatheredBatch) -> None:
        """Windows that follow those of the call before."""
        ids = rows.sample_ids.numpy()
        edges = np.flatnonzero(np.diff(ids)) + 1
        for part in np.split(np.arange(len(ids)), edges):
            if len(part) and ids[part[0]] >= self._first_sample:
                self._add_part(int(ids[part[0]]), rows, part)

    def _add_part(self, sample: int, rows: GatheredBatch, part: NDArray[np.int64]) -> None:
        if sample != self._sample:
            self._sample, self._features, self._times, self._is_bad = sample, [], [], False
        self._features.append(rows.outputs.numpy()[part])
        self._times.append(rows.middle_seconds.numpy()[part])
        self._is_bad |= bool(rows.is_substitute.numpy()[part].any())
        if sum(map(len, self._features)) == self._counts[sample]:
            self._finish(self._reader.info(sample).key)

    def _finish(self, key: str) -> None:
        if self._is_bad:
            self.unreadable.append(key)
            return
        features, times = np.concatenate(self._features), np.concatenate(self._times)
        content = io.BytesIO()
        if self._format == "npy":
            np.save(content, features, allow_pickle=False)
        else:
            flat = pa.array(features.reshape(-1))
            column = pa.FixedSizeListArray.from_arrays(flat, features.shape[1])
            pq.write_table(pa.table({"time_seconds": times, "feature": column}), content)
        write_atomic(self._folder / file_name(key, self._format), content.getvalue())


def begin_folder(out: Path, settings: Mapping[str, Any], *, accelerator: Accelerator) -> None:
    """Note what the features are made with, or check that a run before noted the same.

    Raises:
        ConfigError: the folder holds features that were made with other settings.
    """
    text = json.dumps(settings, indent=2, sort_keys=True) + "\n"
    path = out / SETTINGS_NAME
    problem = [""]
    if accelerator.is_main_process:
        if not path.is_file():
            write_atomic(path, text.encode())
        elif path.read_text(encoding="utf-8") != text:
            problem = [_difference(path, json.loads(text))]
    broadcast_object_list(problem)
    if problem[0]:
        raise ConfigError(problem[0])


def weights_digest(model: ClipModel) -> str:
    """16 hex digits that change when a weight does."""
    digest = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        digest.update(f"{name}\0{tuple(value.shape)}\0{value.dtype}\0".encode())
        digest.update(value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()[:16]


def file_name(key: str, file_format: FeatureFormat) -> str:
    """A sample's file. Keys are data: what could lead out of the folder is escaped as in a URL."""
    return f"{quote(key, safe=' +,=@()')}.{file_format}"


def window_times(info: SampleInfo, clip: ClipConfig, num_windows: int) -> list[float]:
    """When the middle frame of each window is shown."""
    if clip.window == "around" and clip.hop_seconds is None:
        return info.times_seconds().tolist()
    plans = (plan_clip(info, clip, window_index=i) for i in range(num_windows))
    return [float(plan.times_seconds[clip.num_frames // 2]) for plan in plans]


def _difference(path: Path, wanted: Mapping[str, Any]) -> str:
    try:
        found: Any = json.loads(path.read_text(encoding="utf-8"))
        names = sorted(k for k in {*found, *wanted} if found.get(k) != wanted.get(k))
        told = ", ".join(f"{k}={found.get(k)!r}, now {wanted.get(k)!r}" for k in names)
    except (ValueError, TypeError, AttributeError) as error:
        told = repr(error)
    return (
        f"{path.parent} holds features that were made with other settings ({told}); give another "
        "--out, or remove that folder"
    )


def _window_counts(reader: ShardReader, clip: ClipConfig) -> NDArray[np.int64]:
    if not clip.has_many_windows:
        return np.ones(reader.num_samples, dtype=np.int64)
    return np.concatenate(windows_by_shard(reader, clip))


def _first_missing(folder: Path, names: Iterable[str], accelerator: Accelerator) -> int:
    """The first sample without a file, as the first process sees it."""
    found = [0]
    if accelerator.is_main_process:
        found = [_count_leading(folder / name for name in names)]
    broadcast_object_list(found)
    return cast("int", found[0])


def _count_leading(paths: Iterator[Path]) -> int:
    count = 0
    for path in paths:
        if not path.is_file():
            break
        count += 1
    return count


def _go_to(loader: ClipLoader, item: int) -> int:
    """Put a loader to the start of the global batch that holds an item; its position."""
    size = loader.config.batch_size * loader.world.world_size
    position = item - item % size
    loader.load_state_dict(loader.state_dict() | {"epoch": 0, "position": position})
    return position


def _write_index(
    out: Path,
    loader: ClipLoader,
    reader: ShardReader,
    names: list[str],
    counts: NDArray[np.int64],
) -> None:
    rows: list[dict[str, Any]] = []
    for sample, name in enumerate(names):
        if not (out / loader.split / name).is_file():
            continue
        info, windows = reader.info(sample), int(counts[sample])
        label = loader.classes[info.label] if info.label is not None and loader.classes else None
        rows.append(
            {
                "key": info.key,
                "group": info.group,
                "label": label,
                "file": f"{loader.split}/{name}",
                "num_windows": windows,
                "times_seconds": window_times(info, loader.clip, windows),
            }
        )
    schema = pa.schema(
        [("key", pa.string()), ("group", pa.string()), ("label", pa.string()),
         ("file", pa.string()), ("num_windows", pa.int64()),
         ("times_seconds", pa.list_(pa.float64()))]
    )  # fmt: skip
    content = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), content)
    write_atomic(out / f"{loader.split}.parquet", content.getvalue())
