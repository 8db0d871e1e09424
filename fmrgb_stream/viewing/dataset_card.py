"""Dataset root -> DatasetCard: what there is, counted over the sidecars. No media is read."""

from __future__ import annotations

import math
import os
import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from fmrgb_stream.shards import open_dataset
from fmrgb_stream.shards.index import read_column

if TYPE_CHECKING:
    from fmrgb_stream.shards.manifest import ChannelStats, Manifest, ShardEntry
    from fmrgb_stream.storage import Store

_COLUMNS: Final = (
    *("label", "targets", "has_video", "has_audio", "fps", "num_frames", "duration_seconds"),
    *("width", "height", "rotation_degrees", "codec", "audio_sample_rate"),
)
_LIST_COLUMNS: Final = ["frame_times_seconds", "packet_offsets"]
_PARALLEL_READS: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """The least, middle and largest of some numbers."""

    least: float
    median: float
    most: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread | None:
        """Of at least one number; None of none."""
        numbers = sorted(values)
        if not numbers:
            return None
        return cls(least=numbers[0], median=statistics.median(numbers), most=numbers[-1])


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitCard:
    """One split in numbers."""

    name: str
    num_samples: int
    num_groups: int
    duration_seconds: float
    num_bytes: int
    num_shards: int
    shard_bytes: Spread | None
    shard_samples: Spread | None
    samples_by_class: Mapping[str, int]
    """Every class of the dataset, also those the split lacks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetCard:
    """A dataset in numbers. Counters map a value, as text, to the samples that have it."""

    root: str
    splits: tuple[SplitCard, ...]
    classes: tuple[str, ...]
    targets: Mapping[str, Spread]
    """By target name, over the samples that have targets."""
    num_unlabelled: int
    """Samples with neither label nor targets."""
    codecs: Mapping[str, int]
    sizes: Mapping[str, int]
    """`WIDTHxHEIGHT` as stored."""
    frame_rates: Mapping[str, int]
    audio_rates: Mapping[str, int]
    num_without_video: int
    num_without_audio: int
    num_variable_rate: int
    """Samples whose frames carry their own times."""
    num_rotated: int
    """Samples that have to be turned to be upright."""
    num_without_packets: int
    """Samples with video that are decoded through their container, more slowly."""
    sample_seconds: Spread | None
    sample_frames: Spread | None
    channel_stats: Mapping[str, ChannelStats]
    stats_num_clips: int
    pack_config: Mapping[str, Any]

    @property
    def num_samples(self) -> int:
        """Samples of all splits."""
        return sum(split.num_samples for split in self.splits)

    @property
    def num_bytes(self) -> int:
        """Bytes of all tar shards."""
        return sum(split.num_bytes for split in self.splits)

    @property
    def duration_seconds(self) -> float:
        """Of all samples together."""
        return math.fsum(split.duration_seconds for split in self.splits)

    def as_json(self) -> dict[str, Any]:
        """Plain JSON values, with the totals."""
        return {
            **asdict(self),
            "pack_config": dict(self.pack_config),
            "num_samples": self.num_samples,
            "num_bytes": self.num_bytes,
            "duration_seconds": self.duration_seconds,
        }


def read_dataset_card(
    root: str | os.PathLike[str],
    *,
    started: Callable[[int], None] | None = None,
    advanced: Callable[[int], None] | None = None,
) -> DatasetCard:
    """Count a dataset. Reads the manifest and all sidecars, several at a time, and no shard.

    `started` is told how many samples there are, `advanced` how many more were counted.

    Raises:
        ManifestError, StorageError: the dataset cannot be read.
    """
    store, manifest = open_dataset(root)
    shards = [(name, shard) for name, split in manifest.splits.items() for shard in split.shards]
    if started is not None:
        started(manifest.num_samples)
    by_split: dict[str, list[_Row]] = {name: [] for name in manifest.splits}
    with ThreadPoolExecutor(_PARALLEL_READS, thread_name_prefix="fmrgb-inspect") as pool:
        tables = pool.map(partial(_read_table, store), [shard for _, shard in shards])
        for (name, _), rows in zip(shards, tables, strict=True):
            by_split[name] += rows
            if advanced is not None:
                advanced(len(rows))
    return _summed(store.url, manifest, by_split)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    """The columns of a sidecar that are counted."""

    label: int | None
    targets: list[float] | None
    has_video: bool
    has_audio: bool
    fps: float
    num_frames: int
    duration_seconds: float
    width: int
    height: int
    rotation_degrees: int
    codec: str
    audio_sample_rate: int
    frame_times_seconds: bool
    packet_offsets: bool


def _read_table(store: Store, shard: ShardEntry) -> list[_Row]:
    content, url = store.read(shard.index_path), store.url_of(shard.index_path)
    columns = {name: read_column(content, name, url=url) for name in _COLUMNS}
    # Whether there are lists at all, without making Python numbers of millions of packets.
    table = pq.ParquetFile(pa.BufferReader(content)).read(_LIST_COLUMNS, use_threads=False)
    columns |= {name: table.column(name).is_valid().to_pylist() for name in _LIST_COLUMNS}
    rows = zip(*columns.values(), strict=True)
    return [_Row(**dict(zip(columns, values, strict=True))) for values in rows]


def _summed(root: str, manifest: Manifest, by_split: Mapping[str, list[_Row]]) -> DatasetCard:
    rows = [row for split in by_split.values() for row in split]
    pictures = [row for row in rows if row.has_video]
    sounds = [row for row in rows if row.has_audio]
    return DatasetCard(
        root=root,
        splits=tuple(_split_card(manifest, name, split) for name, split in by_split.items()),
        classes=manifest.classes,
        targets=_targets(manifest, rows),
        num_unlabelled=sum(row.label is None and not row.targets for row in rows),
        codecs=_counted(row.codec for row in pictures),
        sizes=_counted(f"{row.width}x{row.height}" for row in pictures),
        frame_rates=_counted(f"{row.fps:g}" for row in rows),
        audio_rates=_counted(str(row.audio_sample_rate) for row in sounds),
        num_without_video=len(rows) - len(pictures),
        num_without_audio=len(rows) - len(sounds),
        num_variable_rate=sum(row.frame_times_seconds for row in rows),
        num_rotated=sum(row.rotation_degrees != 0 for row in pictures),
        num_without_packets=sum(not row.packet_offsets for row in pictures),
        sample_seconds=Spread.of(row.duration_seconds for row in rows),
        sample_frames=Spread.of(row.num_frames for row in rows),
        channel_stats=manifest.channel_stats,
        stats_num_clips=manifest.stats_num_clips,
        pack_config=manifest.pack_config,
    )


def _split_card(manifest: Manifest, name: str, rows: list[_Row]) -> SplitCard:
    split = manifest.split(name)
    counts = Counter(row.label for row in rows)
    return SplitCard(
        name=name,
        num_samples=split.num_samples,
        num_groups=split.num_groups,
        duration_seconds=split.duration_seconds,
        num_bytes=split.num_bytes,
        num_shards=len(split.shards),
        shard_bytes=Spread.of(shard.num_bytes for shard in split.shards),
        shard_samples=Spread.of(shard.num_samples for shard in split.shards),
        samples_by_class={label: counts[i] for i, label in enumerate(manifest.classes)},
    )


def _targets(manifest: Manifest, rows: Iterable[_Row]) -> dict[str, Spread]:
    known = [row.targets for row in rows if row.targets]
    spreads: dict[str, Spread] = {}
    for place, name in enumerate(manifest.target_names):
        # A target that nobody gave is NaN, which has no place in an order.
        spread = Spread.of(x[place] for x in known if not math.isnan(x[place]))
        if spread is not None:
            spreads[name] = spread
    return spreads


def _counted(values: Iterable[str]) -> dict[str, int]:
    """The most frequent first; equal ones in the order of their names."""
    counts = Counter(values)
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))
