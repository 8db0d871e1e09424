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
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from fmrgb_stream.errors import ManifestError, PackError, ShardNotFound
from fmrgb_stream.packing.destination import REJECTS_NAME, is_ours, locked
from fmrgb_stream.packing.progress import Progress
from fmrgb_stream.packing.publish import PackReport
from fmrgb_stream.shards.manifest import MANIFEST_NAME, Manifest
from fmrgb_stream.storage.urls import Location
from fmrgb_stream.storage.writing import BucketWriter, StoredObject

logger = logging.getLogger(__name__)

STAGE: Final = "upload"
_JOURNAL: Final = ".uploaded.jsonl"
_STALE: Final = "stale"
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
    """Pack into the staging folder, upload, and remove what was packed, and the folder if empty.

    Args:
        pack_into: packs into a folder; goes on with what it holds.
        location: of the dataset.
        staging: the folder; needs room for the whole dataset.
        overwrite: replace a dataset of other input or settings.
        progress: where to report.

    Raises:
        PackError: the bucket holds another dataset and `overwrite` is not set, the staging folder
            holds files of somebody else, or an object is not there after its upload.
        StorageError: the bucket cannot be read or written.
    """
    writer = BucketWriter(location)
    if not is_ours(staging):
        raise PackError(
            f"the staging folder {staging} is not empty and holds no dataset of ours; choose an "
            "empty or new folder, or none, which takes one in ~/.cache/fmrgb_stream"
        )
    # Also tells early when the bucket is not to be had.
    held = _held_manifest(writer, overwrite=overwrite)
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
    _remove(staging, report.manifest)
    return replace(report, rejects_path=writer.url_of(REJECTS_NAME))


def _held_manifest(writer: BucketWriter, *, overwrite: bool) -> Manifest | None:
    """What the bucket holds; None where there is none, one without splits for a damaged one."""
    try:
        return Manifest.from_json(writer.read(MANIFEST_NAME), url=writer.url_of(MANIFEST_NAME))
    except ShardNotFound:
        return None
    except ManifestError as error:
        if not overwrite:
            raise PackError(
                f"{error}; choose another prefix, or --overwrite to replace what is there"
            ) from error
        logger.warning("%s; shards that only it names stay where they are", error)
        return Manifest(pack_config={}, classes=(), target_names=(), splits={}, channel_stats={})


def _is_same(held: Manifest, mine: Manifest) -> bool:
    return held.pack_config.get(_FINGERPRINT) == mine.pack_config.get(_FINGERPRINT)


def _upload(
    writer: BucketWriter,
    staging: Path,
    manifest: Manifest,
    held: Manifest | None,
    progress: Progress,
) -> None:
    files = dict(_files(manifest)) | {REJECTS_NAME: _sha256(staging / REJECTS_NAME)}
    journal = staging / _JOURNAL
    if held is not None and held != manifest:
        # Noted first: without its manifest nothing else tells a stopped run's successor.
        _append(journal, {_STALE: [path for path, _ in _files(held)]})
        # Gone before anything new arrives, so that old and new are never mixed under a manifest.
        writer.delete(MANIFEST_NAME)
    there = _uploaded(journal, files, writer.list())
    progress.start(STAGE, total=len(files), kept=len(there))
    for path, sha256 in files.items():
        if path not in there:
            writer.put(path, staging / path)
            _append(journal, [path, sha256, (staging / path).stat().st_size])
            progress.advance(STAGE)
    _check_all_there(writer, staging, files)
    writer.put(MANIFEST_NAME, (staging / MANIFEST_NAME).read_bytes())
    for path in sorted(_stale(journal) - set(files)):
        writer.delete(path)


def _remove(staging: Path, manifest: Manifest) -> None:
    """Remove what was uploaded, the manifest last, and the folders that are empty then."""
    names = [*(path for path, _ in _files(manifest)), REJECTS_NAME, _JOURNAL, MANIFEST_NAME]
    for name in names:
        (staging / name).unlink(missing_ok=True)
    folders = {(staging / name).parent for name in names} | {staging}
    for folder in sorted(folders, key=lambda path: len(path.parts), reverse=True):
        with contextlib.suppress(OSError):  # somebody's file is in it
            folder.rmdir()


def _files(manifest: Manifest) -> Iterator[tuple[str, str]]:
    """(path, sha256) of all shards and sidecars."""
    for split in manifest.splits.values():
        for shard in split.shards:
            yield shard.path, shard.sha256
            yield shard.index_path, shard.index_sha256


def _uploaded(journal: Path, files: dict[str, str], listing: dict[str, StoredObject]) -> set[str]:
    """What an earlier run uploaded, as far as it is there and still of the content wanted."""
    noted: dict[str, tuple[str, int]] = {}
    for line in _lines(journal):
        with contextlib.suppress(ValueError, TypeError):  # a line of another kind
            path, sha256, size = line
            noted[path] = sha256, size
    return {
        path
        for path, sha256 in files.items()
        if path in listing and noted.get(path) == (sha256, listing[path].size)
    }


def _stale(journal: Path) -> set[str]:
    """Paths of the datasets that are being replaced."""
    lines = [line for line in _lines(journal) if isinstance(line, dict)]
    return {str(path) for line in lines for path in line.get(_STALE, [])}


def _lines(journal: Path) -> Iterator[Any]:
    with contextlib.suppress(FileNotFoundError):
        for line in journal.read_text().splitlines():
            with contextlib.suppress(ValueError):  # the last line of a run that was killed
                yield json.loads(line)


def _append(journal: Path, line: Any) -> None:
    with journal.open("a") as stream:
        # What a run that was killed left unfinished must not swallow this line.
        stream.write(("" if _ends_whole(journal) else "\n") + json.dumps(line) + "\n")
        stream.flush()
        os.fsync(stream.fileno())


def _ends_whole(journal: Path) -> bool:
    content = journal.read_bytes()
    return not content or content.endswith(b"\n")


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
