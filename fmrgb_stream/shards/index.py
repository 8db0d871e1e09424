"""Parquet sidecar <-> SampleInfo: one row a sample, in tar order.

Extradata is the same for all samples packed with the same options, so rows carry an id and the
file's metadata carries the bytes once. Row groups are small, because a shuffled epoch comes back to
a shard once a block: it then unpacks the rows around that block and not the whole table.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from fmrgb_stream.errors import ManifestError
from fmrgb_stream.sample import Member, PacketTable, SampleInfo
from fmrgb_stream.shards.manifest import ROW_GROUP_SAMPLES

INDEX_VERSION: Final = 1

_MEMBER: Final = pa.struct(
    [
        ("extension", pa.string()),
        ("offset", pa.int64()),
        ("size", pa.int64()),
        ("crc32c", pa.uint32()),
    ]
)
_PACKET_COLUMNS: Final = ("offsets", "sizes", "is_key", "pts")
_SCALARS: Final = (
    ("key", pa.string()),
    ("group", pa.string()),
    ("label", pa.int64()),
    ("has_video", pa.bool_()),
    ("has_audio", pa.bool_()),
    ("fps", pa.float64()),
    ("num_frames", pa.int64()),
    ("duration_seconds", pa.float64()),
    ("width", pa.int32()),
    ("height", pa.int32()),
    ("codec", pa.string()),
    ("color_matrix", pa.string()),
    ("color_range", pa.string()),
    ("rotation_degrees", pa.int32()),
    ("audio_sample_rate", pa.int32()),
    ("num_audio_samples", pa.int64()),
)
_RAGGED: Final = (
    "frame_times_seconds",
    "packet_offsets",
    "packet_sizes",
    "packet_is_key",
    "packet_pts",
)
_LATER: Final = (("sound_zero_seconds", pa.float64()), ("crop", pa.string()))
_SCHEMA: Final = pa.schema(
    [
        *_SCALARS,
        ("targets", pa.list_(pa.float64())),
        ("extradata_id", pa.string()),
        ("frame_times_seconds", pa.list_(pa.float64())),
        ("packet_offsets", pa.list_(pa.int64())),
        ("packet_sizes", pa.list_(pa.int64())),
        ("packet_is_key", pa.list_(pa.bool_())),
        ("packet_pts", pa.list_(pa.int64())),
        ("members", pa.list_(_MEMBER)),
        *_LATER,
    ]
)
_LATER_COLUMNS: Final = frozenset(name for name, _ in _LATER)
"""Written where a sample has a value; a sidecar without them means null."""


class ShardIndex:
    """Neighbouring rows of one sidecar. Rows become `SampleInfo` one by one, when asked for."""

    def __init__(self, table: pa.Table, *, num_shard_samples: int) -> None:
        """Unpack a table once, so that a row costs microseconds."""
        metadata: dict[bytes, bytes] = table.schema.metadata or {}
        self.num_shard_samples = num_shard_samples
        """Rows of the whole sidecar."""
        self.metadata: dict[str, Any] = json.loads(metadata.get(b"fmrgb.shard", b"{}"))
        """What the writer noted beside the rows (see `ShardWriter.finish`)."""
        self._extradata: dict[str, bytes] = {
            name: bytes.fromhex(text)
            for name, text in json.loads(metadata.get(b"fmrgb.extradata", b"{}")).items()
        }
        self._plain: dict[str, list[Any]] = {
            name: table.column(name).to_pylist()
            for name in (*(name for name, _ in _SCALARS), "targets", "extradata_id", "members")
        }
        for name in _LATER_COLUMNS:
            is_there = name in table.column_names
            nulls: list[Any] = [None] * table.num_rows
            self._plain[name] = table.column(name).to_pylist() if is_there else nulls
        self._lists = {name: _RaggedColumn(table.column(name)) for name in _RAGGED}

    def __len__(self) -> int:
        """Rows held."""
        return len(self._plain["key"])

    def __getitem__(self, row: int) -> SampleInfo:
        """What the index knows of the sample in this row, counted from the first one held."""
        values: dict[str, Any] = {name: self._plain[name][row] for name, _ in _SCALARS}
        targets = self._plain["targets"][row]
        packets = {name: self._lists[f"packet_{name}"].at(row) for name in _PACKET_COLUMNS}
        return SampleInfo(
            **values,
            targets=None if targets is None else tuple(targets),
            extradata=self._extradata.get(self._plain["extradata_id"][row], b""),
            frame_times_seconds=self._lists["frame_times_seconds"].at(row),
            packets=None if packets["offsets"] is None else PacketTable(**packets),
            members=tuple(Member(**member) for member in self._plain["members"][row]),
            **{name: self._plain[name][row] for name in _LATER_COLUMNS},
        )

    @classmethod
    def from_parquet(cls, content: bytes, *, url: str, rows: range | None = None) -> ShardIndex:
        """Unpack a sidecar's bytes; with `rows` only those, as far as there are any.

        Raises:
            ManifestError: not parquet, another index version, or columns missing.
        """
        with readable(url):
            return cls.from_file(open_sidecar(pa.BufferReader(content), url=url), rows=rows)

    @classmethod
    def from_file(cls, file: pq.ParquetFile, *, rows: range | None = None) -> ShardIndex:
        """Unpack an open sidecar; with `rows` only those, as far as there are any."""
        total = file.metadata.num_rows
        if rows is None:
            table = file.read(use_threads=False)
        else:
            groups, first = groups_of(file.metadata, rows)
            table = file.read_row_groups(groups, use_threads=False)
            table = table.slice(rows.start - first, len(rows))
        return cls(table, num_shard_samples=total)


def read_column(content: bytes, name: str, *, url: str) -> list[Any]:
    """One plain column of a sidecar's bytes, without unpacking the others.

    Raises:
        ManifestError: not parquet, another index version, or columns missing.
    """
    with readable(url):
        table = open_sidecar(pa.BufferReader(content), url=url).read([name], use_threads=False)
        return table.column(name).to_pylist()


@contextmanager
def readable(url: str) -> Generator[None]:
    """Turn what Arrow raises inside into ManifestError."""
    try:
        yield
    except (pa.ArrowException, OSError, ValueError) as error:
        raise ManifestError(f"{url} is not a readable parquet sidecar: {error}") from error


def open_sidecar(
    source: pa.NativeFile, *, url: str, metadata: pq.FileMetaData | None = None
) -> pq.ParquetFile:
    """The file behind a sidecar, with its version and columns checked.

    Args:
        source: its bytes.
        url: for messages.
        metadata: its footer, where it was read before.

    Raises:
        ManifestError: another index version, or columns missing.
    """
    file = pq.ParquetFile(source, metadata=metadata)
    schema = file.schema_arrow
    version = (schema.metadata or {}).get(b"fmrgb.index_version", b"none").decode()
    if version != str(INDEX_VERSION):
        raise ManifestError(f"{url}: index version {version}, this release reads {INDEX_VERSION}")
    missing = sorted(set(_SCHEMA.names) - _LATER_COLUMNS - set(schema.names))
    if missing:
        raise ManifestError(f"{url} lacks the columns {missing}")
    return file


def groups_of(metadata: pq.FileMetaData, rows: range) -> tuple[list[int], int]:
    """(row groups that hold these rows, first row of the first of them)."""
    groups, first, start = list[int](), 0, 0
    for group in range(metadata.num_row_groups):
        end = start + metadata.row_group(group).num_rows
        if start < rows.stop and end > rows.start:
            first = first if groups else start
            groups.append(group)
        start = end
    return groups, first


class _RaggedColumn:
    """A list column as one flat numpy array and the places where its rows begin."""

    def __init__(self, column: pa.ChunkedArray) -> None:
        rows = column.combine_chunks()
        flat = rows.flatten().to_numpy(zero_copy_only=False)
        self._dtype = flat.dtype
        # Most of an index is packets, and a training holds the rows of thousands of samples.
        is_narrow = flat.dtype == np.int64 and len(flat) and 0 <= flat.min() <= flat.max() < 2**31
        self._flat = flat.astype(np.int32) if is_narrow else flat.copy()
        ends = np.cumsum(rows.value_lengths().fill_null(0).to_numpy(zero_copy_only=False))
        self._bounds: list[int] = [0, *ends.tolist()]
        self._is_null: list[bool] = rows.is_null().to_pylist()

    def at(self, row: int) -> Any:
        if self._is_null[row]:
            return None
        return self._flat[self._bounds[row] : self._bounds[row + 1]].astype(self._dtype)


def index_to_parquet(samples: Sequence[SampleInfo], *, metadata: dict[str, Any]) -> bytes:
    """The sidecar of one shard; equal input gives equal bytes."""
    extradata = {_extradata_id(s.extradata): s.extradata.hex() for s in samples if s.extradata}
    table = pa.Table.from_pylist([_row(sample) for sample in samples], schema=_SCHEMA)
    unused = [
        name for name in sorted(_LATER_COLUMNS) if table.column(name).null_count == len(table)
    ]
    table = table.drop_columns(unused)
    table = table.replace_schema_metadata(
        {
            "fmrgb.index_version": str(INDEX_VERSION),
            "fmrgb.extradata": json.dumps(extradata, sort_keys=True),
            "fmrgb.shard": json.dumps(metadata, sort_keys=True),
        }
    )
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd", row_group_size=ROW_GROUP_SAMPLES)
    return buffer.getvalue()


def _extradata_id(extradata: bytes) -> str:
    return hashlib.sha256(extradata).hexdigest()[:16] if extradata else ""


def _row(sample: SampleInfo) -> dict[str, Any]:
    row: dict[str, Any] = {name: getattr(sample, name) for name, _ in _SCALARS}
    packets = sample.packets
    for name in _PACKET_COLUMNS:
        row[f"packet_{name}"] = None if packets is None else np.asarray(getattr(packets, name))
    return row | {
        "targets": sample.targets,
        "extradata_id": _extradata_id(sample.extradata),
        "frame_times_seconds": sample.frame_times_seconds,
        **{name: getattr(sample, name) for name in _LATER_COLUMNS},
        "members": [
            {"extension": m.extension, "offset": m.offset, "size": m.size, "crc32c": m.crc32c}
            for m in sample.members
        ],
    }
