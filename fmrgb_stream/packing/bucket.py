"""Dataset in a local staging folder -> bucket. The manifest goes last, when all else is there.

The dataset is packed into the staging folder first, by the same code and with the same ways to go
on after a stop. A journal beside it says what was uploaded, so that a run that was stopped
uploads the rest only.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

from fmrgb_stream.errors import PackError, ShardNotFound
from fmrgb_stream.packing.destination import REJECTS_NAME, locked
from fmrgb_stream.packing.progress import Progress
from fmrgb_stream.packing.publish import PackReport
from fmrgb_stream.shards.manifest import MANIFEST_NAME, Manifest
from fmrgb_stream.storage.urls import Location
from fmrgb_stream.storage.writing import BucketWriter, StoredObject

logger = logging.getLogger(__name__)

STAGE: Final = "upload"
_JOURNAL: Final = ".uploaded.jsonl"
_FINGERPRINT: Final = "plan_fingerprint"


def staging_folder(location: Location) -> Path:
    """Where a dataset for this bucket is made: the same folder each time, in the user's cache."""
    name = hashlib.sha256(location.identity.encode()).hexdigest()[:16]
    return Path("~/.cache/fmrgb_stream/pack").expanduser() / name


def pack_to_bucket(
    pack_into: Callable[[Path], PackReport],
    location: Location,
    *,
    staging: Path,
    overwrite: bool,
    progress: Progress,
) -> PackReport:
    """Pack into the staging folder, upload, and remove the folder.

    Args:
        pack_into: packs into a folder; goes on with what it holds.
        location: of the dataset.
        staging: the folder; needs room for the whole dataset.
        overwrite: replace a dataset of other input or settings.
        progress: where to report.

    Raises:
        PackError: the bucket holds another dataset and `overwrite` is not set, or an object is not
            there after its upload.
        StorageError: the bucket cannot be read or written.
    """
    writer = BucketWriter(location)
    held = _held_manifest(writer)  # also tells early when the bucket is not to be had
    logger.info("packing for %s in %s", location.shown, staging)
    report = pack_into(staging)
    if held is not None and not overwrite and not _is_same(held, report.manifest):
        raise PackError(
            f"{location.shown} holds another dataset; choose another prefix, or --overwrite to "
            f"replace it. What was packed is kept in {staging}"
        )
    try:
        with locked(staging):
            _upload(writer, staging, report.manifest, held, progress)
    finally:
        progress.close()
    shutil.rmtree(staging)
    return replace(report, rejects_path=writer.url_of(REJECTS_NAME))


def _held_manifest(writer: BucketWriter) -> Manifest | None:
    try:
        content = writer.read(MANIFEST_NAME)
    except ShardNotFound:
        return None
    return Manifest.from_json(content, url=writer.url_of(MANIFEST_NAME))


def _is_same(held: Manifest, mine: Manifest) -> bool:
    return held.pack_config.get(_FINGERPRINT) == mine.pack_config.get(_FINGERPRINT)


def _upload(
    writer: BucketWriter,
    staging: Path,
    manifest: Manifest,
    held: Manifest | None,
    progress: Progress,
) -> None:
    if held is not None and held != manifest:
        # Gone before anything new arrives, so that old and new are never mixed under a manifest.
        writer.delete(MANIFEST_NAME)
    files = dict(_files(manifest)) | {REJECTS_NAME: _sha256(staging / REJECTS_NAME)}
    journal = staging / _JOURNAL
    there = _uploaded(journal, files, writer.list())
    progress.start(STAGE, total=len(files), kept=len(there))
    for path, sha256 in files.items():
        if path not in there:
            writer.put(path, staging / path)
            _note(journal, path, sha256, (staging / path).stat().st_size)
            progress.advance(STAGE)
    _check_all_there(writer, staging, files)
    writer.put(MANIFEST_NAME, (staging / MANIFEST_NAME).read_bytes())
    for path in sorted({path for path, _ in _files(held)} - set(files)) if held else ():
        writer.delete(path)


def _files(manifest: Manifest) -> Iterator[tuple[str, str]]:
    """(path, sha256) of all shards and sidecars."""
    for split in manifest.splits.values():
        for shard in split.shards:
            yield shard.path, shard.sha256
            yield shard.index_path, shard.index_sha256


def _uploaded(journal: Path, files: dict[str, str], listing: dict[str, StoredObject]) -> set[str]:
    """What an earlier run uploaded, as far as it is there and still of the content wanted."""
    noted: dict[str, tuple[str, int]] = {}
    with contextlib.suppress(FileNotFoundError):
        for line in journal.read_text().splitlines():
            with contextlib.suppress(ValueError):  # the last line of a run that was killed
                path, sha256, size = json.loads(line)
                noted[path] = sha256, size
    return {
        path
        for path, sha256 in files.items()
        if path in listing and noted.get(path) == (sha256, listing[path].size)
    }


def _note(journal: Path, path: str, sha256: str, size: int) -> None:
    with journal.open("a") as stream:
        stream.write(json.dumps([path, sha256, size]) + "\n")


def _check_all_there(writer: BucketWriter, staging: Path, files: dict[str, str]) -> None:
    listing = writer.list()
    for path in files:
        found, size = listing.get(path), (staging / path).stat().st_size
        if found is None or found.size != size:
            state = "is not there" if found is None else f"has {found.size} bytes"
            raise PackError(
                f"{writer.url_of(path)} {state} after its upload, which should be {size} bytes; "
                "does another process write there? Run the same command again"
            )


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
