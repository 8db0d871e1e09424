"""Bytes of an mp4 -> where each of its packets lies, proven byte by byte."""

from __future__ import annotations

from typing import Final

import numpy as np
from av.error import FFmpegError

from fmrgb_stream.clips.h264 import is_entry_point, nal_length_bytes
from fmrgb_stream.clips.media import main_streams, open_media
from fmrgb_stream.errors import RejectedInput
from fmrgb_stream.sample import PacketTable

_NEEDS_EXTRADATA: Final = {"h264": True, "hevc": True, "vp9": False}
"""Codecs whose packets are listed, and whether their decoder wants a configuration record."""
_PACKET_FORMATS: Final = "mov"


def packet_table(content: bytes) -> tuple[PacketTable, bytes] | None:
    """(packets in decode order, extradata) of the video in an mp4 or mov file, or None.

    None when a decoder could not be fed with slices of `content`: another codec or container, a
    packet that FFmpeg changed or assembled, edit lists that hide frames, repeated or missing times.
    """
    try:
        with open_media(content) as container:
            stream = main_streams(container)[0]
            if stream is None or _PACKET_FORMATS not in container.format.name.split(","):
                return None
            codec = stream.codec.name
            extradata = bytes(stream.codec_context.extradata or b"")
            if codec not in _NEEDS_EXTRADATA or (_NEEDS_EXTRADATA[codec] and not extradata):
                return None
            length_bytes = nal_length_bytes(extradata) if codec == "h264" else 0
            rows: list[tuple[int, int, bool, int]] = []
            for packet in container.demux(stream):
                if packet.size == 0:
                    continue
                start, pts = packet.pos, packet.pts
                if start is None or start < 0 or pts is None or packet.is_discard:
                    return None
                if content[start : start + packet.size] != bytes(packet):
                    return None
                is_key = packet.is_keyframe and is_entry_point(
                    memoryview(packet),  # pyright: ignore[reportArgumentType]
                    length_bytes,
                )
                rows.append((start, packet.size, is_key, pts))
    except (RejectedInput, FFmpegError):
        return None
    return _as_table(rows, extradata)


def _as_table(
    rows: list[tuple[int, int, bool, int]], extradata: bytes
) -> tuple[PacketTable, bytes] | None:
    if not rows or not rows[0][2]:
        return None
    offsets, sizes, is_key, pts = (np.asarray(column) for column in zip(*rows, strict=True))
    if len(np.unique(pts)) != len(pts):
        return None
    table = PacketTable(
        offsets=offsets.astype(np.int64),
        sizes=sizes.astype(np.int64),
        is_key=is_key.astype(np.bool_),
        pts=pts.astype(np.int64),
    )
    return table, extradata
