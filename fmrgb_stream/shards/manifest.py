"""manifest.json <-> Manifest: what a dataset holds, written last, so that it is whole or absent."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from fmrgb_stream.config import SPLIT_NAME
from fmrgb_stream.errors import ManifestError
from fmrgb_stream.storage import Store

MANIFEST_NAME: Final = "manifest.json"
SCHEMA_VERSION: Final = 1
ROW_GROUP_SAMPLES: Final = 64
"""Rows of a sidecar that are unpacked together; two blocks of the default plan."""


def _checked_pack_config(values: Mapping[str, Any], *, url: str) -> Mapping[str, Any]:
    rate = values.get("audio_sample_rate")
    if not isinstance(rate, int) or rate <= 0:
        raise ManifestError(
            f"{url}: pack_config.audio_sample_rate is {rate!r}, it must be the Hz of the packed "
            "sound; restore the manifest or pack the data again"
        )
    return values


def _shard_entry(values: Mapping[str, Any], *, url: str) -> ShardEntry:
    entry = ShardEntry(**values)
    # Leading, trailing and double slashes leave an empty part.
    if {"", ".", ".."} & set(entry.path.split("/")):
        raise ManifestError(
            f"{url}: shard path {entry.path!r} must be relative and stay below the dataset root; "
            "restore the manifest or pack the data again"
        )
    return entry


def _checked_split_name(name: str, *, url: str) -> str:
    # Exports and features make folders of this name, and clear them.
    if not SPLIT_NAME.fullmatch(name):
        raise ManifestError(
            f"{url}: split {name!r} must be 1 to 40 letters, digits, _ and -; "
            "restore the manifest or pack the data again"
        )
    return name


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardEntry:
    """One tar shard of a split."""

    path: str
    """From the dataset root, with forward slashes; the sidecar has the suffix .parquet."""
    num_samples: int
    num_bytes: int
    sha256: str
    index_sha256: str
    """Of the parquet sidecar."""

    @property
    def index_path(self) -> str:
        """Path of the parquet sidecar."""
        return self.path.removesuffix(".tar") + ".parquet"


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitEntry:
    """One split: its shards in order, and totals."""

    shards: tuple[ShardEntry, ...]
    duration_seconds: float
    num_groups: int

    @property
    def num_samples(self) -> int:
        """Samples in all shards."""
        return sum(shard.num_samples for shard in self.shards)

    @property
    def num_bytes(self) -> int:
        """Bytes of all tar shards."""
        return sum(shard.num_bytes for shard in self.shards)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelStats:
    """Mean and standard deviation of one plane over train clips, in 0..1 (uint8 value / 255)."""

    mean: float
    std: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What a dataset holds."""

    pack_config: Mapping[str, Any]
    """The settings it was packed with, as plain JSON values."""
    classes: tuple[str, ...]
    """Class names by label index; empty for regression or unlabelled data."""
    target_names: tuple[str, ...]
    """Names of the regression targets; empty without them."""
    splits: Mapping[str, SplitEntry]
    channel_stats: Mapping[str, ChannelStats]
    """By plane name; empty when there was no train split to measure."""
    stats_num_clips: int = 0
    """Clips that `channel_stats` were taken from."""

    @property
    def num_samples(self) -> int:
        """Samples in all splits."""
        return sum(split.num_samples for split in self.splits.values())

    @property
    def num_bytes(self) -> int:
        """Bytes of all tar shards."""
        return sum(split.num_bytes for split in self.splits.values())

    @property
    def audio_sample_rate(self) -> int:
        """Hz of the packed sound."""
        return int(self.pack_config["audio_sample_rate"])

    @property
    def is_indexed(self) -> bool:
        """Whether its tars are of another maker (`fmrgb index`)."""
        return "indexed" in self.pack_config

    def fingerprint(self, split: str) -> str:
        """16 hex digits that change when the split's shards, or their order, change."""
        digest = hashlib.sha256()
        for shard in self.split(split).shards:
            digest.update(f"{shard.path}\0{shard.num_samples}\0{shard.sha256}\n".encode())
        return digest.hexdigest()[:16]

    def split(self, name: str) -> SplitEntry:
        """One split by name.

        Raises:
            ManifestError: there is no such split; names those there are.
        """
        if name not in self.splits:
            raise ManifestError(f"no split {name!r}; this dataset has {sorted(self.splits)}")
        return self.splits[name]

    def to_json(self) -> str:
        """The text of manifest.json; equal manifests give equal text."""
        content = asdict(self)
        content["pack_config"] = dict(self.pack_config)
        for name, split in self.splits.items():
            content["splits"][name] |= {
                "num_samples": split.num_samples,
                "num_bytes": split.num_bytes,
            }
        content |= {"num_samples": self.num_samples, "num_bytes": self.num_bytes}
        return json.dumps({"schema_version": SCHEMA_VERSION} | content, indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes, *, url: str) -> Manifest:
        """Read the text of manifest.json.

        Raises:
            ManifestError: not JSON, another schema version, a field missing, a shard path that
                leaves the dataset root, or a split name that is no plain word.
        """
        try:
            content: dict[str, Any] = json.loads(text)
            version = content["schema_version"]
            if version != SCHEMA_VERSION:
                raise ManifestError(
                    f"{url}: schema_version {version}, this release reads {SCHEMA_VERSION}; "
                    "pack the data again or use the release that wrote it"
                )
            return cls(
                pack_config=_checked_pack_config(content["pack_config"], url=url),
                classes=tuple(content["classes"]),
                target_names=tuple(content["target_names"]),
                splits={
                    _checked_split_name(name, url=url): SplitEntry(
                        shards=tuple(_shard_entry(shard, url=url) for shard in split["shards"]),
                        duration_seconds=split["duration_seconds"],
                        num_groups=split["num_groups"],
                    )
                    for name, split in content["splits"].items()
                },
                channel_stats={
                    name: ChannelStats(**stats) for name, stats in content["channel_stats"].items()
                },
                stats_num_clips=content["stats_num_clips"],
            )
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise ManifestError(f"{url} is not a manifest: {error!r}") from error

    @classmethod
    def load(cls, store: Store) -> Manifest:
        """Read manifest.json of a dataset root.

        Raises:
            ManifestError, StorageError: it is not there, or not a manifest.
        """
        return cls.from_json(store.read(MANIFEST_NAME), url=store.url_of(MANIFEST_NAME))
