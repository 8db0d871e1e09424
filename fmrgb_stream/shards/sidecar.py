"""Store + path -> rows of one parquet sidecar: its footer once, then the row groups that are asked for."""

from __future__ import annotations

import io
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from fmrgb_stream.errors import ManifestError
from fmrgb_stream.shards.index import ShardIndex, groups_of, open_sidecar, read_column, readable
from fmrgb_stream.storage import Store

_TAIL_BYTES: Final = 1 << 16
"""Read first; holds the footer of some hundred row groups, and of small sidecars everything."""
_TRAILER_BYTES: Final = 8
"""The footer's length and four letters end every parquet file."""


class Sidecar:
    """One sidecar, of which nothing is kept but the footer. Safe to use from many threads."""

    def __init__(self, store: Store, path: str) -> None:
        """Read the footer.

        Raises:
            StorageError, ManifestError: it cannot be had, or is no sidecar.
        """
        self._store, self._path = store, path
        self.url = store.url_of(path)
        self._size = store.size(path)
        if self._size < _TRAILER_BYTES:
            raise ManifestError(
                f"{self.url} is not a readable parquet sidecar: it has {self._size} bytes"
            )
        tail = self._tail(min(self._size, _TAIL_BYTES))
        needed = int.from_bytes(tail[-_TRAILER_BYTES:-4], "little") + _TRAILER_BYTES
        if len(tail) < needed <= self._size:
            tail = self._tail(needed)
        with readable(self.url):
            file = open_sidecar(_piece(self._size, tail, self._size - len(tail)), url=self.url)
        self._metadata: pq.FileMetaData = file.metadata
        self.num_rows = int(self._metadata.num_rows)

    def rows(self, rows: range) -> ShardIndex:
        """These rows, as far as there are any; one range is read for their row groups."""
        groups, _ = groups_of(self._metadata, rows)
        if not groups:
            raise ManifestError(f"{self.url} has {self.num_rows} rows, none of {rows}")
        spans = [_span(self._metadata.row_group(group)) for group in groups]
        start, stop = min(first for first, _ in spans), max(last for _, last in spans)
        if not 0 <= start < stop <= self._size:
            raise ManifestError(
                f"{self.url} is not a readable parquet sidecar: its footer is wrong"
            )
        content = self._store.read_range(self._path, start=start, length=stop - start)
        with readable(self.url):
            source = _piece(self._size, bytes(content), start)
            file = open_sidecar(source, url=self.url, metadata=self._metadata)
            return ShardIndex.from_file(file, rows=rows)

    def column(self, name: str) -> list[Any]:
        """One plain column of all rows; reads the whole sidecar."""
        content = self._store.read_range(self._path, start=0, length=self._size)
        return read_column(bytes(content), name, url=self.url)

    def _tail(self, length: int) -> bytes:
        start = self._size - length
        return bytes(self._store.read_range(self._path, start=start, length=length))


def _span(group: pq.RowGroupMetaData) -> tuple[int, int]:
    """(first byte, end) of a row group's column chunks."""
    starts, ends = list[int](), list[int]()
    for number in range(group.num_columns):
        column = group.column(number)
        start = column.data_page_offset
        if column.dictionary_page_offset is not None:
            start = min(start, column.dictionary_page_offset)
        starts.append(start)
        ends.append(start + column.total_compressed_size)
    return min(starts), max(ends)


def _piece(size: int, content: bytes, start: int) -> pa.NativeFile:
    return pa.PythonFile(_Piece(size, content, start), mode="r")


class _Piece(io.RawIOBase):
    """A file of which only the bytes from `start` on are there."""

    def __init__(self, size: int, content: bytes, start: int) -> None:
        super().__init__()
        self._size, self._content, self._start = size, content, start
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = base + offset
        return self._at

    def read(self, size: int = -1) -> bytes:
        stop = self._size if size < 0 else min(self._at + size, self._size)
        first, last = self._at - self._start, stop - self._start
        if first < 0 or last > len(self._content):
            raise ValueError(f"bytes {self._at}..{stop} lie outside of its row groups")
        self._at = max(self._at, stop)
        return self._content[first:last]
