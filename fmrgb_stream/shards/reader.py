"""Sample id -> EncodedSample: the index says where, one range read brings it, crc32c proves it."""

from __future__ import annotations

import importlib
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Final

import google_crc32c
import numpy as np

from fmrgb_stream.errors import ManifestError, ShardCorrupt, StorageError
from fmrgb_stream.sample import EncodedSample, Member, SampleInfo
from fmrgb_stream.shards.manifest import ROW_GROUP_SAMPLES, Manifest, SplitEntry
from fmrgb_stream.storage import ReadCounts, Store

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fmrgb_stream.shards.index import ShardIndex
    from fmrgb_stream.shards.sidecar import Sidecar

AUDIO_EXTENSIONS: Final = ("flac",)
METADATA_EXTENSIONS: Final = ("json",)
_PARTS_KEPT: Final = 192
"""Row groups of sidecars held unpacked: one for each block of the default plan's two windows that
batches in the making can reach into, and some."""
_SIDECARS_KEPT: Final = 128
"""Footers held: of all shards that two windows of the default plan can reach into."""


class ShardReader:
    """Random access to the samples of one split. Safe to call from many threads.

    Arrow is loaded with the first sidecar: a trainer whose decode processes read needs none of it.
    """

    def __init__(self, store: Store, split: SplitEntry, *, verify_checksums: bool = True) -> None:
        """Nothing is read yet; sidecars are read when first needed."""
        self._store = store
        self._split = split
        self._shards = split.shards
        self._verify_checksums = verify_checksums
        counts = (shard.num_samples for shard in split.shards)
        self._first_sample = list(accumulate(counts, initial=0))
        self._part = lru_cache(maxsize=_PARTS_KEPT)(self._read_part)
        self._sidecar = lru_cache(maxsize=_SIDECARS_KEPT)(self._open_sidecar)

    def __reduce__(self) -> tuple[Any, ...]:
        """Another process gets a reader that has read nothing."""
        return _reader, (self._store, self._split, self._verify_checksums)

    @property
    def num_samples(self) -> int:
        """Samples of the split."""
        return self._first_sample[-1]

    def read_counts(self) -> ReadCounts:
        """What was read in this process, sidecars included."""
        return self._store.counts()

    def describe(self, sample_id: int) -> tuple[str, str]:
        """(shard URL, key) of a sample, for messages; `row N` where the sidecar cannot be read."""
        shard, row = self._locate(sample_id)
        try:
            key = self._row(shard, row).key
        except (StorageError, ManifestError):
            key = f"row {row}"
        return self._store.url_of(self._shards[shard].path), key

    def info(self, sample_id: int) -> SampleInfo:
        """What the index knows of a sample."""
        return self._row(*self._locate(sample_id))

    def read(
        self, sample_id: int, *, with_video: bool = True, with_audio: bool = True
    ) -> EncodedSample:
        """A sample's info and members, read in one range.

        Raises:
            ShardCorrupt: a member's checksum differs from the index.
            StorageError, ManifestError: the bytes or the sidecar cannot be had.
        """
        shard, row = self._locate(sample_id)
        info = self._row(shard, row)
        entry = self._shards[shard]
        video = _video_member(info) if with_video else None
        audio = _audio_member(info) if with_audio else None
        wanted = [member for member in (video, audio) if member is not None]
        views = self._members(entry.path, wanted, key=info.key)
        return EncodedSample(
            sample_id=sample_id,
            shard_url=self._store.url_of(entry.path),
            info=info,
            video=None if video is None else views[video.extension],
            audio=None if audio is None else views[audio.extension],
        )

    def durations_by_shard(self) -> list[NDArray[np.float64]]:
        """How long each sample lasts, float64 [samples] a shard; reads all sidecars."""
        return [
            np.asarray(self._column(shard, "duration_seconds"), dtype=np.float64)
            for shard in range(len(self._shards))
        ]

    def find(self, key: str) -> int | None:
        """The sample id of a key, or None; reads sidecars until it is found."""
        for shard in range(len(self._shards)):
            keys = self._column(shard, "key")
            if key in keys:
                return self._first_sample[shard] + keys.index(key)
        return None

    def _locate(self, sample_id: int) -> tuple[int, int]:
        if not 0 <= sample_id < self.num_samples:
            raise IndexError(f"sample {sample_id} of {self.num_samples}")
        shard = bisect_right(self._first_sample, sample_id) - 1
        return shard, sample_id - self._first_sample[shard]

    def _row(self, shard: int, row: int) -> SampleInfo:
        part, row_of_part = divmod(row, ROW_GROUP_SAMPLES)
        return self._part(shard, part)[row_of_part]

    def _read_part(self, shard: int, part: int) -> ShardIndex:
        first = part * ROW_GROUP_SAMPLES
        return self._sidecar(shard).rows(range(first, first + ROW_GROUP_SAMPLES))

    def _column(self, shard: int, name: str) -> list[Any]:
        return self._sidecar(shard).column(name)

    def _open_sidecar(self, shard: int) -> Sidecar:
        from fmrgb_stream.shards.sidecar import Sidecar

        entry, store = self._shards[shard], self._store
        # A sidecar is opened before its shard is read.
        store.expect(entry.index_path, num_bytes=None, sha256=entry.index_sha256)
        store.expect(entry.path, num_bytes=entry.num_bytes, sha256=entry.sha256)
        sidecar = Sidecar(store, entry.index_path)
        self._check_count(shard, sidecar.num_rows, sidecar.url)
        return sidecar

    def _check_count(self, shard: int, num_rows: int, url: str) -> None:
        num_samples = self._shards[shard].num_samples
        if num_rows != num_samples:
            raise ManifestError(
                f"{url} has {num_rows} rows, the manifest says {num_samples}; "
                "run fmrgb verify, and pack again if it agrees"
            )

    def _members(self, path: str, wanted: Sequence[Member], *, key: str) -> dict[str, memoryview]:
        """The members' bytes by extension, in one range; once more where a checksum differs."""
        if not wanted:
            return {}
        start = min(member.offset for member in wanted)
        length = max(member.offset + member.size for member in wanted) - start
        views = _cut(self._store.read_range(path, start=start, length=length), start, wanted)
        if self._damaged(views, wanted) is None:
            return views
        views = _cut(self._store.read_anew(path, start=start, length=length), start, wanted)
        damaged = self._damaged(views, wanted)
        if damaged is None:
            return views
        url = self._store.url_of(path)
        raise ShardCorrupt(
            f"member {key}.{damaged.extension} of {url} differs from its checksum, also when read "
            "again; run fmrgb verify, and restore or pack the shard again",
            url=url,
            attempts=2,
        )

    def _damaged(self, views: Mapping[str, memoryview], wanted: Sequence[Member]) -> Member | None:
        if not self._verify_checksums:
            return None
        for member in wanted:
            # google_crc32c takes no memoryview, but does take an array on the same bytes: no copy.
            found = google_crc32c.value(np.frombuffer(views[member.extension], np.uint8))
            if found != member.crc32c:
                return member
        return None


def _cut(
    content: bytes | memoryview, start: int, wanted: Sequence[Member]
) -> dict[str, memoryview]:
    whole = memoryview(content)
    return {m.extension: whole[m.offset - start : m.offset - start + m.size] for m in wanted}


def _reader(store: Store, split: SplitEntry, verify_checksums: bool) -> ShardReader:
    # Workers are forked from a process that has loaded all they need.
    importlib.import_module("fmrgb_stream.shards.sidecar")
    return ShardReader(store, split, verify_checksums=verify_checksums)


def open_sample(root: str, key: str) -> EncodedSample:
    """One sample by key, whatever its split: index row and member bytes.

    Raises:
        ManifestError: no split holds the key.
        StorageError, ShardCorrupt: it cannot be read.
    """
    store = Store(root)
    manifest = Manifest.load(store)
    for split in manifest.splits.values():
        reader = ShardReader(store, split)
        sample_id = reader.find(key)
        if sample_id is not None:
            return reader.read(sample_id)
    raise ManifestError(
        f"no sample {key!r} in {store.url}; its splits are {sorted(manifest.splits)}"
    )


def _video_member(info: SampleInfo) -> Member | None:
    if not info.has_video:
        return None
    other = (*AUDIO_EXTENSIONS, *METADATA_EXTENSIONS)
    return next((m for m in info.members if m.extension not in other), None)


def _audio_member(info: SampleInfo) -> Member | None:
    if not info.has_audio:
        return None
    return next((m for m in info.members if m.extension in AUDIO_EXTENSIONS), None)
