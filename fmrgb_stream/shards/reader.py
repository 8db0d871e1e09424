"""Sample id -> EncodedSample: the index says where, one range read brings it, crc32c proves it."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

import google_crc32c
import numpy as np

from fmrgb_stream.errors import ManifestError, ShardCorrupt, StorageError
from fmrgb_stream.sample import EncodedSample, Member, SampleInfo
from fmrgb_stream.shards.index import ShardIndex
from fmrgb_stream.shards.manifest import Manifest, SplitEntry
from fmrgb_stream.storage import Store

if TYPE_CHECKING:
    from numpy.typing import NDArray

AUDIO_EXTENSIONS: Final = ("flac",)
METADATA_EXTENSIONS: Final = ("json",)
_INDEXES_KEPT: Final = 256


class ShardReader:
    """Random access to the samples of one split. Safe to call from many threads."""

    def __init__(self, store: Store, split: SplitEntry, *, verify_checksums: bool = True) -> None:
        """Nothing is read yet; sidecars are read when first needed."""
        self._store = store
        self._shards = split.shards
        self._verify_checksums = verify_checksums
        self._first_sample = np.cumsum([0, *(shard.num_samples for shard in split.shards)])
        self.index = lru_cache(maxsize=_INDEXES_KEPT)(self._read_index)

    @property
    def num_samples(self) -> int:
        """Samples of the split."""
        return int(self._first_sample[-1])

    def describe(self, sample_id: int) -> tuple[str, str]:
        """(shard URL, key) of a sample, for messages; `row N` where the sidecar cannot be read."""
        shard, row = self._locate(sample_id)
        try:
            key = self.index(shard).key(row)
        except (StorageError, ManifestError):
            key = f"row {row}"
        return self._store.url_of(self._shards[shard].path), key

    def info(self, sample_id: int) -> SampleInfo:
        """What the index knows of a sample."""
        shard, row = self._locate(sample_id)
        return self.index(shard)[row]

    def read(
        self, sample_id: int, *, with_video: bool = True, with_audio: bool = True
    ) -> EncodedSample:
        """A sample's info and members, read in one range.

        Raises:
            ShardCorrupt: a member's checksum differs from the index.
            StorageError, ManifestError: the bytes or the sidecar cannot be had.
        """
        shard, row = self._locate(sample_id)
        info = self.index(shard)[row]
        entry = self._shards[shard]
        video = _video_member(info) if with_video else None
        audio = _audio_member(info) if with_audio else None
        wanted = [member for member in (video, audio) if member is not None]
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
        )

    def durations_by_shard(self) -> list[NDArray[np.float64]]:
        """How long each sample lasts, float64 [samples] a shard; reads all sidecars."""
        return [self.index(shard).durations_seconds() for shard in range(len(self._shards))]

    def find(self, key: str) -> int | None:
        """The sample id of a key, or None; reads sidecars until it is found."""
        for shard in range(len(self._shards)):
            row = self.index(shard).row_of(key)
            if row is not None:
                return int(self._first_sample[shard]) + row
        return None

    def _locate(self, sample_id: int) -> tuple[int, int]:
        if not 0 <= sample_id < self.num_samples:
            raise IndexError(f"sample {sample_id} of {self.num_samples}")
        shard = int(np.searchsorted(self._first_sample, sample_id, side="right")) - 1
        return shard, sample_id - int(self._first_sample[shard])

    def _read_index(self, shard: int) -> ShardIndex:
        entry = self._shards[shard]
        url = self._store.url_of(entry.index_path)
        index = ShardIndex.from_parquet(self._store.read(entry.index_path), url=url)
        if len(index) != entry.num_samples:
            raise ManifestError(
                f"{url} has {len(index)} rows, the manifest says {entry.num_samples}; "
                "run fmrgb verify, and pack again if it agrees"
            )
        return index

    def _check(self, content: memoryview, member: Member, *, shard_path: str, key: str) -> None:
        # google_crc32c takes bytes only; the copy costs 1 % of decoding the sample.
        if self._verify_checksums and google_crc32c.value(bytes(content)) != member.crc32c:
            raise ShardCorrupt(
                f"member {key}.{member.extension} of {self._store.url_of(shard_path)} differs from "
                "its checksum; run fmrgb verify, and restore or pack the shard again"
            )


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


def _video_member(info: SampleInfo) -> Member | None:
    if not info.has_video:
        return None
    other = (*AUDIO_EXTENSIONS, *METADATA_EXTENSIONS)
    return next((m for m in info.members if m.extension not in other), None)


def _audio_member(info: SampleInfo) -> Member | None:
    if not info.has_audio:
        return None
    return next((m for m in info.members if m.extension in AUDIO_EXTENSIONS), None)
