"""Dataset root and key -> where the sample stands, and the sample itself."""

from __future__ import annotations

import difflib
import os
from dataclasses import dataclass
from typing import Final

from fmrgb_stream.errors import ManifestError, ShardNotFound
from fmrgb_stream.sample import EncodedSample, SampleInfo
from fmrgb_stream.shards.manifest import Manifest, ShardEntry
from fmrgb_stream.shards.reader import ShardReader
from fmrgb_stream.storage import Store

_NUM_SUGGESTED: Final = 3
_MIN_LIKENESS: Final = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundSample:
    """One sample of a dataset and where it stands."""

    split: str
    sample_id: int
    """Position in the split, counted over its shards in manifest order."""
    shard: ShardEntry
    row: int
    """Position in the shard."""
    reader: ShardReader
    """Reads the samples of the split."""

    @property
    def info(self) -> SampleInfo:
        """What the index knows of it."""
        return self.reader.info(self.sample_id)


def open_dataset(root: str | os.PathLike[str]) -> tuple[Store, Manifest]:
    """A dataset's store and manifest.

    Raises:
        ManifestError: there is no manifest, or it cannot be used.
        StorageError: the root cannot be read.
    """
    store = Store(root)
    try:
        return store, Manifest.load(store)
    except ShardNotFound as error:
        raise ManifestError(
            f"{error}: not a dataset; give the folder that `fmrgb pack` wrote, or make one of tar "
            "shards of others by `fmrgb index`"
        ) from error


def find_sample(store: Store, manifest: Manifest, key: str) -> FoundSample:
    """Look a key up in the sidecars of all splits, in manifest order.

    Raises:
        ManifestError: no split holds it; names the keys that look most like it.
        StorageError: a sidecar cannot be read.
    """
    from fmrgb_stream.shards.index import read_column

    seen: list[str] = []
    for name, split in manifest.splits.items():
        first_sample = 0
        for shard in split.shards:
            url = store.url_of(shard.index_path)
            keys = read_column(store.read(shard.index_path), "key", url=url)
            if key in keys:
                row = keys.index(key)
                return FoundSample(
                    split=name,
                    sample_id=first_sample + row,
                    shard=shard,
                    row=row,
                    reader=ShardReader(store, split),
                )
            seen += keys
            first_sample += shard.num_samples
    raise ManifestError(f"no sample {key!r} in {store.url}{_suggestion(key, seen)}")


def open_sample(root: str | os.PathLike[str], key: str) -> EncodedSample:
    """One sample by key, whatever its split: index row and member bytes.

    Raises:
        ManifestError: there is no dataset, or no split of it holds the key.
        StorageError, ShardCorrupt: it cannot be read.
    """
    store, manifest = open_dataset(root)
    found = find_sample(store, manifest, key)
    return found.reader.read(found.sample_id)


def _suggestion(key: str, keys: list[str]) -> str:
    if not keys:
        return "; the dataset is empty"
    # The same word in other letters first: what people forget most.
    same = [other for other in keys if other.casefold() == key.casefold()]
    holding = [other for other in keys if key and key.casefold() in other.casefold()]
    near = difflib.get_close_matches(key, keys, n=_NUM_SUGGESTED, cutoff=_MIN_LIKENESS)
    nearest = list(dict.fromkeys([*same, *near, *holding]))[:_NUM_SUGGESTED]
    if not nearest:
        return f"; its {len(keys)} keys look like {keys[0]!r}"
    return f"; nearest: {', '.join(map(repr, nearest))}"
