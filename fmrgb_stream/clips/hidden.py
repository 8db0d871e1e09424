"""What the bytes of a VP8 or VP9 packet tell without decoding them: whether it is one shown frame.

Encoders that look ahead write frames that are never shown and only referred to (alt-ref). VP8 gives
them packets of their own; VP9 packs them together with a shown one (a superframe), or shows one
later by a packet that only names it. A decoder that gives one picture for each frame it decodes, as
NVDEC does, then counts others than the index. Sources: RFC 6386, 9.1 (VP8); VP9 Bitstream & Decoding
Process Specification v0.6, 6.2 (frame header) and annex B (superframes).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from fmrgb_stream.sample import PacketTable

_SUPERFRAME_MASK, _SUPERFRAME_MARK = 0xE0, 0xC0
_VP9_MARK: Final = 2
_VP8_IS_SHOWN: Final = 0x10


def _vp8_is_one_shown(first: int, last: int) -> bool:  # noqa: ARG001 - one form for both codecs
    return bool(first & _VP8_IS_SHOWN)


def _vp9_is_one_shown(first: int, last: int) -> bool:
    if last & _SUPERFRAME_MASK == _SUPERFRAME_MARK:
        return False
    # Bits from the top: frame marker (2), profile (2), a reserved one with profile 3, then
    # show_existing_frame, frame_type, show_frame.
    has_reserved = first >> 4 & 3 == 3
    flags = first << 1 & 0xFF if has_reserved else first
    shows_existing, is_shown = flags >> 3 & 1, flags >> 1 & 1
    # Without its mark a packet is broken, which is for a decoder to find out.
    return first >> 6 != _VP9_MARK or (not shows_existing and bool(is_shown))


_CHECKS: Final[Mapping[str, Callable[[int, int], bool]]] = MappingProxyType(
    {"vp8": _vp8_is_one_shown, "vp9": _vp9_is_one_shown}
)


def shows_one_frame(codec: str, packet: memoryview | bytes) -> bool:
    """Whether a packet holds one frame, and that is shown. True for codecs that hide none."""
    check = _CHECKS.get(codec)
    return check is None or (len(packet) > 0 and check(packet[0], packet[-1]))


def hides_frames(codec: str, video: memoryview, table: PacketTable) -> bool:
    """Whether any packet of a sample is something else than one shown frame.

    Raises:
        IndexError: the table is not of these bytes.
    """
    check = _CHECKS.get(codec)
    if check is None:
        return False
    content = np.frombuffer(video, np.uint8)
    last = table.offsets + np.maximum(table.sizes, 1) - 1
    ends = zip(content[table.offsets].tolist(), content[last].tolist(), strict=True)
    return not all(check(first, final) for first, final in ends)
