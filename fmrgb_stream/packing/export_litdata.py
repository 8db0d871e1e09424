"""Samples of a dataset -> chunks of a LitData dataset, by LitData's own optimiser.

A sample there is a dict: key, group, label, label_name, targets, fps, num_frames, and the bytes of
`media`, one file of picture and sound, with its extension in `media_extension`.
"""

from __future__ import annotations

import importlib
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from fmrgb_stream.config import ExportConfig
from fmrgb_stream.distributed import usable_cores
from fmrgb_stream.errors import MissingExtraError
from fmrgb_stream.packing.export_media import media_file
from fmrgb_stream.packing.export_tables import ExportedRow, facts
from fmrgb_stream.packing.progress import Progress
from fmrgb_stream.shards import Manifest, ShardReader
from fmrgb_stream.storage import Store

_INDEX_NAME: Final = "index.json"
"""LitData writes it last."""


def export_chunks(
    root: str,
    destination: Path,
    manifest: Manifest,
    splits: list[str],
    config: ExportConfig,
    progress: Progress,
) -> int:
    """Write a LitData dataset a split; how many samples were there already.

    Raises:
        MissingExtraError: LitData is not installed.
    """
    litdata = _load()
    num_resumed = 0
    for split in splits:
        entry, folder = manifest.splits[split], destination / split
        if (folder / _INDEX_NAME).is_file():
            num_resumed += entry.num_samples
        else:
            shutil.rmtree(folder, ignore_errors=True)  # an unfinished split of this very export
            litdata.optimize(
                fn=_Sample(root=root, split=split, manifest=manifest),
                inputs=list(range(entry.num_samples)),
                output_dir=str(folder),
                chunk_bytes=f"{config.chunk_megabytes}MB",
                num_workers=min(config.num_workers or usable_cores(), entry.num_samples),
                verbose=False,
            )
        progress.advance("export", entry.num_samples)
    return num_resumed


def _load() -> Any:
    try:
        return importlib.import_module("litdata")
    except ImportError as error:
        raise MissingExtraError("litdata", "litdata", "exporting to litdata") from error


@dataclass(slots=True, kw_only=True)
class _Sample:
    """Number of a sample -> the dict that LitData stores; travels to its processes."""

    root: str
    split: str
    manifest: Manifest
    _reader: ShardReader | None = None

    def __call__(self, number: int) -> dict[str, Any]:
        if self._reader is None:
            self._reader = ShardReader(Store(self.root), self.manifest.split(self.split))
        sample = self._reader.read(number)
        extension, content = media_file(sample)
        row = ExportedRow(split=self.split, path="", info=sample.info)
        told = facts(row, self.manifest)
        told.pop("path")
        return {**told, "media_extension": extension, "media": content}
