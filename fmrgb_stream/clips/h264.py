"""What the bytes of an H.264 packet tell without decoding them. ITU-T H.264 (08/2021).

Packets are those of mp4: each NAL unit follows its length.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

_SLICE, _IDR_SLICE, _SUPPLEMENT = 1, 5, 6
"""NAL unit types, table 7-1. An IDR picture refers to nothing before it."""
_ABOUT_ITS_FRAME: Final = frozenset({_SUPPLEMENT, 9, 12})
"""Supplemental information, access unit delimiter, filler: they concern the packet they are in."""
_RECOVERY_POINT: Final = 6
"""Payload type of supplemental information, D.1.8."""


def nal_length_bytes(extradata: bytes) -> int:
    """How many bytes say a NAL unit's length (avcC, ISO/IEC 14496-15, 5.3.3.1); 0 if none do."""
    is_avcc = len(extradata) >= 7 and extradata[0] == 1
    return (extradata[4] & 3) + 1 if is_avcc else 0


def is_disposable(content: memoryview, length_bytes: int) -> bool:
    """Whether no other frame refers to this packet: it holds slices with nal_ref_idc 0.

    7.3.1 and table 7-1. Such packets (B-frames, as a rule) are a decoder's to leave out when their
    own frame is not wanted; parameter sets and what is not known are kept.
    """
    place, has_slice = 0, False
    while length_bytes and place + length_bytes < len(content):
        start = place + length_bytes
        reference, kind = content[start] >> 5 & 3, content[start] & 31
        if kind == _SLICE and reference == 0:
            has_slice = True
        elif kind not in _ABOUT_ITS_FRAME:
            return False
        place = start + int.from_bytes(content[place:start], "big")
    return has_slice


def is_idr(content: memoryview, length_bytes: int) -> bool:
    """Whether this packet and all after it refer to nothing before it (7.4.1.2.4)."""
    return any(unit[0] & 31 == _IDR_SLICE for unit in _nal_units(content, length_bytes))


def is_entry_point(content: memoryview, length_bytes: int) -> bool:
    """Whether decoding can start at this packet, which a container calls a keyframe.

    Not so with periodic intra refresh: its pictures are whole only after `recovery_frame_cnt` more
    frames (D.2.8). What cannot be read is taken for what the container says.
    """
    for unit in _nal_units(content, length_bytes):
        kind = unit[0] & 31
        if kind == _IDR_SLICE:
            return True
        if kind == _SUPPLEMENT:
            for payload_type, payload in _messages(unit[1:]):
                if payload_type == _RECOVERY_POINT and payload:
                    # An Exp-Golomb code (9.1): a first bit of 1 is the number 0.
                    return payload[0] >> 7 == 1
    return True


def _nal_units(content: memoryview, length_bytes: int) -> Iterator[memoryview]:
    place = 0
    while length_bytes and place + length_bytes < len(content):
        start = place + length_bytes
        place = start + int.from_bytes(content[start - length_bytes : start], "big")
        if place > start:
            yield content[start:place]


def _messages(content: memoryview) -> Iterator[tuple[int, memoryview]]:
    """(payload type, payload) of supplemental information, 7.3.2.3.1."""
    place = 0
    while place + 2 < len(content):
        numbers: list[int] = []
        for _ in range(2):
            number = 0
            while place + 1 < len(content) and content[place] == 0xFF:
                number, place = number + 0xFF, place + 1
            numbers.append(number + content[place] if place < len(content) else 0)
            place += 1
        payload_type, size = numbers
        yield payload_type, content[place : place + size]
        place += size
