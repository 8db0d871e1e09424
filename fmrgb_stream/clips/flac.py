"""A FLAC file in memory -> where each of its blocks lies, so that a few can be decoded alone.

The header of every block of a 16-bit mono file is known before it is looked for: its number, its
length and the checksum over both are all that changes. With a seek point for each block, which
`add_seek_table` writes, a block is found at once; without, by looking for its header. The format is
RFC 9639: section 8 the metadata, 9.1 the headers.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

_MARKER: Final = b"fLaC"
_STREAM_INFO, _SEEK_TABLE, _IS_LAST = 0, 3, 0x80
_INFO_BYTES: Final = 34
_SEEK_POINT: Final = struct.Struct(">QQH")
"""First sample, bytes from block 0 to the block, samples in it."""
_SYNC: Final = b"\xff\xf8"
"""Begins each block of a file whose blocks have one size."""
_MONO_16_BIT: Final = 0x08
_MAX_BLOCKS: Final = 0x110000
"""Their numbers are written like characters, and Python writes no character from here on."""
_SIZE_CODES: Final = (
    {192: 1} | {576 << i: 2 + i for i in range(4)} | {256 << i: 8 + i for i in range(8)}
)
_RATE_EXTRA_BYTES: Final = {12: 1, 13: 2, 14: 2}


@dataclass(frozen=True, slots=True, kw_only=True)
class FlacLayout:
    """A mono file of 16-bit samples in blocks of one size; the last one may be shorter."""

    stream_info: bytes
    """The 34 bytes of STREAMINFO, a decoder's configuration."""
    sample_rate: int
    """Hz."""
    num_samples: int
    block_samples: int
    num_blocks: int
    min_block_bytes: int
    """No block is smaller; 0 where the encoder did not say."""
    first_byte: int
    """Where block 0 begins."""
    seek_points: int | None
    """Where the seek table begins, if it has one point for each block."""
    rate_code: int
    """How the headers write the sample rate."""
    rate_extra: bytes

    def find_block(self, content: memoryview, number: int) -> int | None:
        """First byte of a block, or where the content ends for the number after the last.

        None when the content does not hold this block.
        """
        if number == self.num_blocks:
            return len(content)
        header = self.header(number)
        if self.seek_points is not None:
            point = self.seek_points + number * _SEEK_POINT.size
            start = self.first_byte + _SEEK_POINT.unpack_from(content, point)[1]
            if bytes(content[start : start + len(header)]) == header:
                return start
        found = bytes(content).find(header, self.first_byte + number * self.min_block_bytes)
        return None if found < 0 else found

    def header(self, number: int) -> bytes:
        """All of a block's header: six bytes or more, which sound does not hold by chance."""
        size = self.num_samples_of(number)
        size_code, size_extra = _SIZE_CODES.get(size), b""
        if size_code is None:
            size_code, size_extra = (
                (6, bytes([size - 1])) if size <= 256 else (7, (size - 1).to_bytes(2))
            )
        codes = bytes([size_code << 4 | self.rate_code, _MONO_16_BIT])
        place = chr(number).encode("utf-8", "surrogatepass")
        header = _SYNC + codes + place + size_extra + self.rate_extra
        return header + bytes([_crc8(header)])

    def num_samples_of(self, number: int) -> int:
        """Samples in one block."""
        return min(self.block_samples, self.num_samples - number * self.block_samples)


def flac_layout(content: memoryview) -> FlacLayout | None:
    """The layout of a file; None where it is not mono, 16-bit and in blocks of one size."""
    parts = _metadata(content)
    if parts is None or parts.get(_STREAM_INFO, (0, 0))[1] != _INFO_BYTES:
        return None
    info_byte, first_byte = parts[_STREAM_INFO][0], max(sum(part) for part in parts.values())
    info = bytes(content[info_byte : info_byte + _INFO_BYTES])
    start = bytes(content[first_byte : first_byte + 16])
    block_samples, max_samples = struct.unpack_from(">HH", info)
    # 20 bits of rate, 3 of channels - 1, 5 of bits - 1, 36 of samples.
    packed = int.from_bytes(info[10:18])
    num_samples = packed & (1 << 36) - 1
    is_mono_16_bit = packed >> 36 & 0xFF == 15
    if not is_mono_16_bit or block_samples != max_samples or len(start) < 16:
        return None
    if not 0 < num_samples <= _MAX_BLOCKS * block_samples:
        return None
    num_blocks = -(-num_samples // block_samples)
    seek_table, seek_bytes = parts.get(_SEEK_TABLE, (None, 0))
    rate_code = start[2] & 15
    # The rate comes after the four codes, the number 0, and the size where no code has it.
    rate_byte = 5 + {6: 1, 7: 2}.get(start[2] >> 4, 0)
    layout = FlacLayout(
        stream_info=info,
        sample_rate=packed >> 44,
        num_samples=num_samples,
        block_samples=block_samples,
        num_blocks=num_blocks,
        min_block_bytes=int.from_bytes(info[4:7]),
        first_byte=first_byte,
        seek_points=seek_table if seek_bytes == num_blocks * _SEEK_POINT.size else None,
        rate_code=rate_code,
        rate_extra=start[rate_byte : rate_byte + _RATE_EXTRA_BYTES.get(rate_code, 0)],
    )
    return layout if start.startswith(layout.header(0)) else None


def add_seek_table(content: bytes) -> bytes:
    """The same file with a seek point for each block, which any FLAC reader may use.

    A file that has a seek table, or whose layout is another one, comes back as it is.
    """
    view = memoryview(content)
    layout, parts = flac_layout(view), _metadata(view)
    if layout is None or parts is None or _SEEK_TABLE in parts:
        return content
    starts = [layout.find_block(view, number) for number in range(layout.num_blocks)]
    if None in starts:
        return content
    table = b"".join(
        _SEEK_POINT.pack(
            number * layout.block_samples,
            (start or 0) - layout.first_byte,
            layout.num_samples_of(number),
        )
        for number, start in enumerate(starts)
    )
    end = parts[_STREAM_INFO][0] + _INFO_BYTES
    was_last = content[len(_MARKER)] & _IS_LAST
    return b"".join(
        (
            _MARKER,
            bytes([_STREAM_INFO]),
            content[len(_MARKER) + 1 : end],
            bytes([_SEEK_TABLE | was_last]),
            len(table).to_bytes(3),
            table,
            content[end:],
        )
    )


def _metadata(content: memoryview) -> dict[int, tuple[int, int]] | None:
    """First byte and bytes of the content of each kind of metadata; None if it is not FLAC's."""
    if bytes(content[: len(_MARKER)]) != _MARKER:
        return None
    parts: dict[int, tuple[int, int]] = {}
    place, is_last = len(_MARKER), 0
    while not is_last:
        head = int.from_bytes(content[place : place + 4])
        is_last, kind, size = head >> 31, head >> 24 & 0x7F, head & 0xFFFFFF
        place += 4
        if place + size > len(content):
            return None
        parts[kind] = (place, size)
        place += size
    return parts


def _crc8(content: bytes) -> int:
    crc = 0
    for byte in content:
        crc = _CRC8_TABLE[crc ^ byte]
    return crc


def _crc8_table() -> bytes:
    """The checksum of each byte, polynomial x^8 + x^2 + x + 1 (RFC 9639, 9.1.8)."""
    table: list[int] = []
    for byte in range(256):
        crc = byte
        for _ in range(8):
            crc = crc << 1 ^ (0x107 if crc & 0x80 else 0)
        table.append(crc)
    return bytes(table)


_CRC8_TABLE: Final = _crc8_table()
