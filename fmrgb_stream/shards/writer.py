"""Samples -> one tar shard and its parquet sidecar, both atomic, both reproducible byte for byte."""

from __future__ import annotations

import hashlib
import os
import tarfile
from collections.abc import Mapping, Set
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import google_crc32c

from fmrgb_stream.sample import Member, SampleInfo
from fmrgb_stream.shards.index import ShardIndex, index_to_parquet
from fmrgb_stream.shards.manifest import ShardEntry
from fmrgb_stream.shards.tar_writer import tar_writer_class


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleRecord:
    """One sample before it has a place: its info without `members`, and its files."""

    info: SampleInfo
    files: Mapping[str, bytes]
    """Content by extension, e.g. {"mp4": ..., "flac": ..., "json": ...}."""


class ShardWriter:
    """Writes `root/path` (a .tar) and its sidecar, holding one record at a time.

    Both files get their names only when complete and flushed to disk, so a crash at any point
    leaves a finished shard, or `.partial` files that the next run overwrites.
    """

    def __init__(self, root: Path, path: str) -> None:
        """Open the partial tar; an older one is overwritten."""
        self._path = path
        self._tar_path = root / path
        self._tar_path.parent.mkdir(parents=True, exist_ok=True)
        self._partial = self._tar_path.with_suffix(".tar.partial")
        self._stream = self._partial.open("wb")
        writer = tar_writer_class()
        self._tar = writer(self._stream, encoder=False, mtime=0, user="fmrgb", group="fmrgb")
        self._infos: list[SampleInfo] = []

    def __len__(self) -> int:
        """Records added so far."""
        return len(self._infos)

    def add(self, record: SampleRecord) -> None:
        """Append one sample; its key must be new in this shard."""
        self._tar.write({"__key__": record.info.key, **record.files})
        self._infos.append(record.info)

    def finish(self, metadata: Mapping[str, Any]) -> ShardEntry:
        """Publish the shard. `metadata` is stored beside the rows, with the tar's size and sha256.

        The sidecar arrives last; its arrival makes the shard finished.
        """
        self._tar.close()
        self._stream.flush()
        os.fsync(self._stream.fileno())
        self._stream.close()
        members = _members_by_key(self._partial, {info.key for info in self._infos})
        infos = [replace(info, members=members[info.key]) for info in self._infos]
        sha256, num_bytes = _sha256(self._partial), self._partial.stat().st_size
        sidecar = index_to_parquet(
            infos, metadata={**metadata, "tar_sha256": sha256, "tar_num_bytes": num_bytes}
        )
        self._partial.replace(self._tar_path)
        write_atomic(self._tar_path.with_suffix(".parquet"), sidecar)
        return ShardEntry(
            path=self._path,
            num_samples=len(infos),
            num_bytes=num_bytes,
            sha256=sha256,
            index_sha256=hashlib.sha256(sidecar).hexdigest(),
        )

    def abort(self) -> None:
        """Drop the partial tar; nothing is published."""
        self._tar.close()
        self._stream.close()
        self._partial.unlink(missing_ok=True)


def finished_shard(root: Path, path: str) -> tuple[ShardEntry, ShardIndex] | None:
    """The shard at `root/path` if both its files are there and the tar is what the sidecar says."""
    tar_path = root / path
    sidecar_path = tar_path.with_suffix(".parquet")
    if not (tar_path.is_file() and sidecar_path.is_file()):
        return None
    sidecar = sidecar_path.read_bytes()
    index = ShardIndex.from_parquet(sidecar, url=str(sidecar_path))
    noted = index.metadata
    num_bytes = tar_path.stat().st_size
    if num_bytes != noted.get("tar_num_bytes") or _sha256(tar_path) != noted.get("tar_sha256"):
        return None
    entry = ShardEntry(
        path=path,
        num_samples=len(index),
        num_bytes=num_bytes,
        sha256=noted["tar_sha256"],
        index_sha256=hashlib.sha256(sidecar).hexdigest(),
    )
    return entry, index


def write_atomic(path: Path, content: bytes) -> None:
    """Write a file that is either whole or not there, surviving power loss after return."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    with partial.open("wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    partial.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _members_by_key(tar_path: Path, keys: Set[str]) -> dict[str, tuple[Member, ...]]:
    members: dict[str, list[Member]] = {}
    with tarfile.open(tar_path, "r:") as tar:
        for entry in tar:
            key, extension = _split_name(entry.name, keys)
            content = tar.extractfile(entry)
            if content is None:
                raise AssertionError(f"{entry.name} in {tar_path} is not a file")
            members.setdefault(key, []).append(
                Member(
                    extension=extension,
                    offset=entry.offset_data,
                    size=entry.size,
                    crc32c=google_crc32c.value(content.read()),
                )
            )
    return {key: tuple(listed) for key, listed in members.items()}


def _split_name(name: str, keys: Set[str]) -> tuple[str, str]:
    """(key, extension); the extension may have dots, as in `clip-7.left.mp4`."""
    dots = (place for place, letter in enumerate(name) if letter == ".")
    place = next((place for place in dots if name[:place] in keys), None)
    if place is None:
        raise AssertionError(f"{name} is not a member of the records that were written")
    return name[:place], name[place + 1 :]


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
