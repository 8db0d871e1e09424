"""Any model's embedding of every window of every sample -> one file a sample.

Files arrive in the order of the samples, each whole or absent, so a run that was killed goes on at
the first one that is missing: at the start of the global batch that holds it, so that every number
comes out of the same batch, and with the same bits, as without the interruption.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from accelerate.utils import broadcast_object_list

from fmrgb_stream.clips.windows import windows_by_shard
from fmrgb_stream.shards.writer import write_atomic
from fmrgb_stream.training.feature_files import (
    UNREADABLE,
    FeatureFormat,
    feature_bytes,
    file_name,
    is_done,
    unreadable_keys,
    write_index,
)
from fmrgb_stream.training.gathered_rows import GatheredBatch, run_model

if TYPE_CHECKING:
    from accelerate import Accelerator
    from numpy.typing import NDArray

    from fmrgb_stream.config import ClipConfig
    from fmrgb_stream.loader import ClipLoader
    from fmrgb_stream.models import ClipModel
    from fmrgb_stream.shards import ShardReader
    from fmrgb_stream.training.shown import ClipProgress


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
    progress: ClipProgress | None = None,
) -> FeatureReport:
    """Write the files of one split; those that are there are kept.

    Args:
        model: In evaluation mode, on the accelerator's device.
        loader: The split in order, with tail="pad"; its clip says what a window is.
        reader: Of the same split.
        out: Folder; `begin_folder` has been there.
        file_format: `npy` or `parquet`.
        accelerator: The first of its processes writes.
        progress: Told by the first process, counting windows.
    """
    counts = _window_counts(reader, loader.clip)
    ends = np.cumsum(counts)
    folder = out / loader.split
    keys = [reader.info(i).key for i in range(len(counts))]
    files = [folder / file_name(key, file_format) for key in keys]
    missing = _first_missing(files, accelerator)
    first_item = int(ends[missing - 1]) if missing else 0
    start = _go_to(loader, first_item) if missing < len(counts) else int(ends[-1])
    told = progress if accelerator.is_main_process else None
    if told is not None:
        told.start(loader.split, total=int(ends[-1]), kept=start)
    writer = FeatureWriter(files, counts=counts, first=missing, file_format=file_format)
    batches = iter(loader) if missing < len(counts) else iter(())
    for rows in run_model(model.embed, batches, accelerator=accelerator, fields=model.batch_fields):
        if accelerator.is_main_process:
            writer.add(rows)
        if told is not None:
            told.advance(loader.split, len(rows.outputs))
    if accelerator.is_main_process:
        write_index(
            out,
            loader.split,
            reader=reader,
            counts=counts,
            clip=loader.clip,
            classes=loader.classes,
            file_format=file_format,
        )
    accelerator.wait_for_everyone()
    return FeatureReport(
        split=loader.split,
        num_samples=len(counts),
        num_kept=missing,
        num_windows=int(ends[-1]),
        num_features=model.num_features,
        unreadable=tuple(unreadable_keys(folder, keys, file_format)),
    )


class FeatureWriter:
    """Collects the windows of a sample and writes them when all are there."""

    def __init__(
        self,
        files: Sequence[Path],
        *,
        counts: NDArray[np.int64],
        first: int,
        file_format: FeatureFormat,
    ) -> None:
        """Write the files of samples from `first` on; `counts` int64 [N] are windows a sample."""
        self._files, self._counts = files, counts
        self._first = first
        self._format: FeatureFormat = file_format
        self._sample = -1
        self._features: list[NDArray[np.float32]] = []
        self._times: list[NDArray[np.float64]] = []
        self._is_bad = False

    def add(self, rows: GatheredBatch) -> None:
        """Windows that follow those of the call before."""
        ids = rows.sample_ids.numpy()
        edges = np.flatnonzero(np.diff(ids)) + 1
        for part in np.split(np.arange(len(ids)), edges):
            if len(part) and ids[part[0]] >= self._first:
                self._add_part(int(ids[part[0]]), rows, part)

    def _add_part(self, sample: int, rows: GatheredBatch, part: NDArray[np.int64]) -> None:
        if sample != self._sample:
            self._sample, self._features, self._times, self._is_bad = sample, [], [], False
        self._features.append(rows.outputs.numpy()[part])
        self._times.append(rows.middle_seconds.numpy()[part])
        self._is_bad |= bool(rows.is_substitute.numpy()[part].any())
        if sum(map(len, self._features)) == self._counts[sample]:
            self._finish(self._files[sample])

    def _finish(self, path: Path) -> None:
        if self._is_bad:
            write_atomic(path.with_name(path.name + UNREADABLE), b"")
            return
        features, times = np.concatenate(self._features), np.concatenate(self._times)
        write_atomic(path, feature_bytes(features, times, self._format))


def _window_counts(reader: ShardReader, clip: ClipConfig) -> NDArray[np.int64]:
    if not clip.has_many_windows:
        return np.ones(reader.num_samples, dtype=np.int64)
    return np.concatenate(windows_by_shard(reader, clip))


def _first_missing(files: Iterable[Path], accelerator: Accelerator) -> int:
    """The first sample without a file, as the first process sees it."""
    found = [0]
    if accelerator.is_main_process:
        found = [sum(1 for _ in takewhile(is_done, files))]
    broadcast_object_list(found)
    return found[0]


def _go_to(loader: ClipLoader, item: int) -> int:
    """Put a loader to the start of the global batch that holds an item; its position."""
    size = loader.config.batch_size * loader.world.world_size
    position = item - item % size
    loader.load_state_dict(loader.state_dict() | {"epoch": 0, "position": position})
    return position
