"""One shard's tar and sidecar -> findings of what can be told without decoding."""

from __future__ import annotations

import hashlib
import io
import json
import math
import tarfile
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

import google_crc32c
import numpy as np

from fmrgb_stream.errors import DatasetError, StorageError
from fmrgb_stream.packing.findings import Notes, Place
from fmrgb_stream.sample import SampleInfo
from fmrgb_stream.shards.index import ShardIndex
from fmrgb_stream.shards.manifest import Manifest, ShardEntry
from fmrgb_stream.storage import Store

_PICKLES: Final = frozenset({"pkl", "pickle", "pyd", "pth"})
_LONGER_SECONDS: Final = 60.0
"""Beyond twice the picture, that sound is not even decoded."""
_TOLD_AT_MOST: Final = 20
"""Of one kind and shard: a tar of other content has thousands."""


def read_index(store: Store, shard: ShardEntry, notes: Notes) -> ShardIndex | None:
    """The shard's sidecar; None when it cannot be read."""
    place = Place(path=shard.index_path)
    try:
        sidecar = store.read(shard.index_path)
        index = ShardIndex.from_parquet(sidecar, url=store.url_of(shard.index_path))
    except (StorageError, DatasetError) as error:
        notes.error("sidecar", place, f"cannot be read: {error}")
        return None
    if hashlib.sha256(sidecar).hexdigest() != shard.index_sha256:
        notes.error("sidecar", place, "its sha256 is not the manifest's")
    if len(index) != shard.num_samples:
        problem = f"has {len(index)} rows, the manifest says {shard.num_samples}"
        notes.error("sample-count", place, problem)
    return index


def read_tar(store: Store, shard: ShardEntry, notes: Notes) -> bytes | None:
    """The shard's bytes, compared with the manifest; None when they cannot be had."""
    place = Place(path=shard.path)
    try:
        content = store.read(shard.path)
    except StorageError as error:
        notes.error("shard", place, f"cannot be read: {error}")
        return None
    if len(content) != shard.num_bytes:
        problem = f"is {len(content)} bytes, the manifest says {shard.num_bytes}"
        notes.error("size", place, problem)
    elif hashlib.sha256(content).hexdigest() != shard.sha256:
        problem = "its sha256 is not the manifest's: some byte has changed"
        notes.error("sha256", place, problem)
    return content


def check_structure(
    shard: ShardEntry, content: bytes, index: ShardIndex, places: Sequence[Place], notes: Notes
) -> None:
    """The tar's own headers against the sidecar's rows."""
    place = Place(path=shard.path)
    listed = _listed_members(index, places)
    places_of = {name: row_place for name, (row_place, _) in listed.items()}
    found, names = _tar_members(place, places_of, content, notes)
    for name, (row_place, expected) in sorted(listed.items()):
        if name not in found:
            notes.error("tar", row_place, f"the tar lacks {name}, which its index has")
        elif found[name] != expected:
            problem = f"{name} lies at {found[name]} (offset, size), its index says {expected}"
            notes.error("tar", row_place, problem)
        if name.rpartition(".")[2].lower() in _PICKLES:
            notes.warning("pickle", row_place, f"{name} is a pickle; it is never opened")
    known = {*listed, *index.metadata.get("left_out", ())}
    for name in [name for name in sorted(found) if name not in known][:_TOLD_AT_MOST]:
        notes.error("tar", place, f"holds {name}, which its index does not have")
    for name, count in sorted(Counter(names).items()):
        if count > 1:
            notes.error("tar", place, f"holds {name} {count} times; readers take one of them")


def _listed_members(
    index: ShardIndex, places: Sequence[Place]
) -> dict[str, tuple[Place, tuple[int, int]]]:
    prefix = str(index.metadata.get("key_prefix", ""))
    listed: dict[str, tuple[Place, tuple[int, int]]] = {}
    for row, place in enumerate(places):
        info = index[row]
        for member in info.members:
            name = f"{info.key.removeprefix(prefix)}.{member.extension}"
            listed[name] = (place, (member.offset, member.size))
    return listed


def _tar_members(
    place: Place, places_of: Mapping[str, Place], content: bytes, notes: Notes
) -> tuple[dict[str, tuple[int, int]], list[str]]:
    """((offset, size) by name, all names); of what is not a plain file, or leaves the folder, a note."""
    found: dict[str, tuple[int, int]] = {}
    names: list[str] = []
    try:
        with tarfile.open(fileobj=io.BytesIO(content), mode="r:") as tar:
            for entry in tar:
                if ".." in entry.name.split("/") or entry.name.startswith("/"):
                    problem = f"member {entry.name!r} would leave the folder it is unpacked to"
                    notes.error("member-name", places_of.get(entry.name, place), problem)
                if not (entry.isfile() or entry.isdir()):
                    problem = f"member {entry.name!r} is a link or a device, not a file"
                    notes.error("member-type", places_of.get(entry.name, place), problem)
                if entry.isfile():
                    found[entry.name] = (entry.offset_data, entry.size)
                    names.append(entry.name)
    except (tarfile.TarError, EOFError, ValueError, OSError) as error:
        notes.error("tar", place, f"is not a whole tar: {error}")
    return found, names


def check_info(manifest: Manifest, place: Place, info: SampleInfo, notes: Notes) -> bool:
    """What the index says of one sample: labels, and how long picture and sound are.

    Returns whether its numbers can be: with others there is nothing to compare the media with.
    """
    if info.label is not None and not 0 <= info.label < len(manifest.classes):
        problem = f"label {info.label}, but there are {len(manifest.classes)} classes"
        notes.error("label", place, problem)
    if info.label is None and manifest.classes and not manifest.target_names:
        notes.warning("label", place, "has no label, in a dataset of classes")
    targets = info.targets or ()
    if len(targets) != len(manifest.target_names):
        problem = f"{len(targets)} targets, but {len(manifest.target_names)} names"
        notes.error("targets", place, problem)
    elif not np.isfinite(np.asarray(targets, np.float64)).all():
        notes.error("targets", place, f"its targets {targets} are not all finite numbers")
    problems = _impossible(info)
    for problem in problems:
        notes.error("index", place, problem)
    if problems:
        return False
    if info.has_audio and info.has_video:
        sound = info.num_audio_samples / info.audio_sample_rate
        if abs(sound - info.duration_seconds) > 1 / info.fps:
            problem = f"{sound:.3f} s of sound beside {info.duration_seconds:.3f} s of picture"
            notes.error("av-length", place, problem)
    return True


def _impossible(info: SampleInfo) -> list[str]:
    """What of the index's numbers no sample can have."""
    problems: list[str] = []
    for name, value in (("fps", info.fps), ("duration_seconds", info.duration_seconds)):
        if not (math.isfinite(value) and value > 0):
            problems.append(f"{name} is {value}, it must be a positive number")
    if info.num_frames <= 0:
        problems.append(f"num_frames is {info.num_frames}, it must be positive")
    if info.rotation_degrees % 90:
        problems.append(f"rotation_degrees is {info.rotation_degrees}, no multiple of 90")
    rate, count = info.audio_sample_rate, info.num_audio_samples
    if info.has_audio and (rate <= 0 or count <= 0):
        problems.append(f"{count} samples of sound at {rate} Hz; both must be positive")
    elif info.has_audio and count / rate > 2 * info.duration_seconds + _LONGER_SECONDS:
        problems.append(
            f"{count / rate:.0f} s of sound, the sample has {info.duration_seconds:.3f} s"
        )
    times_F = info.frame_times_seconds
    if times_F is not None:
        if len(times_F) != info.num_frames:
            problems.append(f"{len(times_F)} times of {info.num_frames} frames")
        if not (np.isfinite(times_F).all() and (np.diff(times_F) >= 0).all()):
            problems.append("its frame times are not all finite and rising")
    return problems


def check_members(place: Place, content: bytes, info: SampleInfo, notes: Notes) -> bool:
    """Whether all members have the bytes of the index; what the json member says must agree."""
    is_whole = True
    for member in info.members:
        part = content[member.offset : member.offset + member.size]
        if google_crc32c.value(part) != member.crc32c:
            is_whole = False
            row_place = Place(
                path=place.path, key=place.key, extension=member.extension, row=place.row
            )
            notes.error("crc32c", row_place, "its crc32c is not the index's")
        elif member.extension == "json":
            _check_json(place, part, info, notes)
    return is_whole


def _check_json(place: Place, content: bytes, info: SampleInfo, notes: Notes) -> None:
    try:
        noted: Any = json.loads(content)
    except ValueError as error:
        notes.error("json", place, f"its json member cannot be read: {error}")
        return
    # Other makers' json may use the word for something else; the packer writes all three.
    if not isinstance(noted, dict) or not {"label", "group", "source_sha256"} <= noted.keys():
        return
    for name, value in (("label", info.label), ("group", info.group)):
        if noted[name] != value:
            problem = f"its json says {name} {noted[name]!r}, its index {value!r}"
            notes.error("json", place, problem)
