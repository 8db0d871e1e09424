"""Sample id -> EncodedSample: the index says where, one range read brings it, crc32c proves it."""

from __future__ import annotations

import importlib
from bisect import bisect_right
from functools import lru_cache
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Final

import google_crc32c
import numpy as np

from fmrgb_stream.errors import ManifestError, ShardCorrupt, StorageError
from fmrgb_stream.sample import EncodedSample, Member, SampleInfo
from fmrgb_stream.shards.manifest import ROW_GROUP_SAMPLES, Manifest, SplitEntry
from fmrgb_stream.shards.members import (
    FLOW_EXTENSION,
    MATTE_EXTENSION,
    audio_member,
    video_member,
)
from fmrgb_stream.storage import Store

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fmrgb_stream.shards.index import ShardIndex

_PARTS_KEPT: Final = 192
"""Row groups of sidecars held unpacked: one for each block of the default plan's two windows that
batches in the making can reach into, and some."""


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

    def __reduce__(self) -> tuple[Any, ...]:
        """Another process gets a reader that has read nothing."""
        return _reader, (self._store, self._split, self._verify_checksums)

    @property
    def num_samples(self) -> int:
        """Samples of the split."""
        return self._first_sample[-1]

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
        self,
        sample_id: int,
        *,
        with_video: bool = True,
        with_audio: bool = True,
        with_flow: bool = False,
        with_matte: bool = False,
    ) -> EncodedSample:
        """A sample's info and the members it has of those asked for, read in one range.

        Raises:
            ShardCorrupt: a member's checksum differs from the index.
            StorageError, ManifestError: the bytes or the sidecar cannot be had.
        """
        shard, row = self._locate(sample_id)
        info = self._row(shard, row)
        entry = self._shards[shard]
        video = video_member(info) if with_video else None
        audio = audio_member(info) if with_audio else None
        flow = info.member(FLOW_EXTENSION) if with_flow else None
        matte = info.member(MATTE_EXTENSION) if with_matte else None
        wanted = [member for member in (video, audio, flow, matte) if member is not None]
        views: dict[str, memoryview] = {}
        if wanted:
            start = min(member.offset for member in wanted)
            end = max(member.offset + member.size for member in wanted)
            content = memoryview(
                self._store.read_range(entry.path, start=start, length=end - start)
            )
            for member in wanted:
                view = content[member.offset - start : member.offset - start + member.size]
                self._check(view, member, shard_path=entry.path, key=info.key)
                views[member.extension] = view
        return EncodedSample(
            sample_id=sample_id,
            shard_url=self._store.url_of(entry.path),
            info=info,
            video=None if video is None else views[video.extension],
            audio=None if audio is None else views[audio.extension],
            flow=None if flow is None else views[flow.extension],
            matte=None if matte is None else views[matte.extension],
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
        from fmrgb_stream.shards.index import ShardIndex

        first = part * ROW_GROUP_SAMPLES
        content, url = self._sidecar(shard)
        rows = range(first, first + ROW_GROUP_SAMPLES)
        index = ShardIndex.from_parquet(content, url=url, rows=rows)
        self._check_count(shard, index.num_shard_samples, url)
        return index

    def _column(self, shard: int, name: str) -> list[Any]:
        from fmrgb_stream.shards.index import read_column

        content, url = self._sidecar(shard)
        column = read_column(content, name, url=url)
        self._check_count(shard, len(column), url)
        return column

    def _sidecar(self, shard: int) -> tuple[bytes, str]:
        path = self._shards[shard].index_path
        return self._store.read(path), self._store.url_of(path)

    def _check_count(self, shard: int, num_rows: int, url: str) -> None:
        num_samples = self._shards[shard].num_samples
        if num_rows != num_samples:
            raise ManifestError(
                f"{url} has {num_rows} rows, the manifest says {num_samples}; "
                "run fmrgb verify, and pack again if it agrees"
            )

    def _check(self, content: memoryview, member: Member, *, shard_path: str, key: str) -> None:
        if not self._verify_checksums:
            return
        # google_crc32c takes no memoryview, but does take an array on the same bytes: no copy.
        if google_crc32c.value(np.frombuffer(content, np.uint8)) != member.crc32c:
            raise ShardCorrupt(
                f"member {key}.{member.extension} of {self._store.url_of(shard_path)} differs from "
                "its checksum; run fmrgb verify, and restore or pack the shard again"
            )


def _reader(store: Store, split: SplitEntry, verify_checksums: bool) -> ShardReader:
    # Workers are forked from a process that has loaded all they need.
    importlib.import_module("fmrgb_stream.shards.index")
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
    raise ManifestError(f"no sample {key!r} in {root}; its splits are {sorted(manifest.splits)}")
