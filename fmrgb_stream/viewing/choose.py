"""Manifest and patterns -> the samples to look at: all kinds of them, evenly."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

import numpy as np

from fmrgb_stream.errors import ConfigError
from fmrgb_stream.shards import ShardReader
from fmrgb_stream.shards.index import read_column

if TYPE_CHECKING:
    from fmrgb_stream.shards import Manifest
    from fmrgb_stream.storage import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A sample that may be looked at."""

    split: str
    sample_id: int
    key: str
    label: int | None
    reader: ShardReader
    """Reads the samples of the split."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Patterns as a shell has them (`*`, `?`, `[ab]`), or names as they are; None is any."""

    class_name: str | None = None
    split: str | None = None
    key: str | None = None


def choose_samples(
    store: Store, manifest: Manifest, *, num_samples: int, wanted: Wanted
) -> tuple[list[Candidate], int]:
    """(at most `num_samples` samples in the dataset's order, how many fit the patterns).

    Every class of every split gets the same share as far as it has samples, spread over them.

    Raises:
        ConfigError: nothing fits; says what there is.
        ManifestError, StorageError: a sidecar cannot be read.
    """
    if num_samples < 1:
        raise ConfigError(f"num_samples={num_samples} must be at least 1")
    splits = [name for name in manifest.splits if _fits(name, wanted.split)]
    if not splits:
        raise ConfigError(f"split {wanted.split!r} is none of {sorted(manifest.splits)}")
    _check_class(manifest, wanted.class_name)
    fitting = [
        one
        for split in splits
        for one in _samples(store, manifest, split)
        if _fits(one.key, wanted.key) and _has_class(manifest, one.label, wanted.class_name)
    ]
    if not fitting:
        raise ConfigError(_nothing_fits(manifest, splits, wanted))
    kinds: dict[tuple[str, int | None], list[int]] = {}
    for place, one in enumerate(fitting):
        kinds.setdefault((one.split, one.label), []).append(place)
    chosen = sorted(_shared(list(kinds.values()), num_samples))
    return [fitting[place] for place in chosen], len(fitting)


def _samples(store: Store, manifest: Manifest, split: str) -> Iterator[Candidate]:
    entry = manifest.split(split)
    reader, sample_id = ShardReader(store, entry), 0
    for shard in entry.shards:
        url = store.url_of(shard.index_path)
        content = store.read(shard.index_path)
        keys, labels = (read_column(content, name, url=url) for name in ("key", "label"))
        for key, label in zip(keys, labels, strict=True):
            yield Candidate(split=split, sample_id=sample_id, key=key, label=label, reader=reader)
            sample_id += 1


def _fits(name: str, pattern: str | None) -> bool:
    return pattern is None or name == pattern or fnmatchcase(name, pattern)


def _has_class(manifest: Manifest, label: int | None, pattern: str | None) -> bool:
    if pattern is None:
        return True
    is_named = label is not None and 0 <= label < len(manifest.classes)
    return is_named and _fits(manifest.classes[label or 0], pattern)


def _check_class(manifest: Manifest, pattern: str | None) -> None:
    if pattern is None or any(_fits(name, pattern) for name in manifest.classes):
        return
    if manifest.classes:
        raise ConfigError(f"class {pattern!r} is none of {list(manifest.classes)}")
    raise ConfigError(f"class {pattern!r}: this dataset has no classes; leave the class away")


def _nothing_fits(manifest: Manifest, splits: Sequence[str], wanted: Wanted) -> str:
    held = sum(manifest.split(name).num_samples for name in splits)
    if not held:
        return f"the splits {list(splits)} hold no sample"
    parts = {"class": wanted.class_name, "split": wanted.split, "key": wanted.key}
    given = ", ".join(f"{name} {value!r}" for name, value in parts.items() if value is not None)
    return (
        f"no sample has {given} (of {held}); a key is a name or a pattern such as 'scene-0*', "
        "`fmrgb inspect ROOT KEY` names the keys nearest to one"
    )


def _shared(kinds: Sequence[Sequence[int]], num_samples: int) -> Iterator[int]:
    """Members of all kinds; kinds that have too few leave their share to the others."""
    left, kinds_left = num_samples, len(kinds)
    for kind in sorted(kinds, key=len):
        # The larger kinds come last, and share what the smaller ones left.
        count = min(len(kind), -(-left // kinds_left))
        left, kinds_left = left - count, kinds_left - 1
        for place in np.linspace(0, len(kind) - 1, count).round().astype(int).tolist():
            yield kind[place]
