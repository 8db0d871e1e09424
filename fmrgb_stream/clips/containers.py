"""First and last bytes of a file -> why it cannot be media, in words a user understands."""

from __future__ import annotations

import io
import struct
from pathlib import Path
from typing import BinaryIO, Final

from fmrgb_stream.errors import RejectedInput

_SNIFFED_BYTES: Final = 4096
_BOXES: Final = frozenset({b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"moof", b"styp"})
_WITH_MEDIA: Final = frozenset({b"mdat", b"moof"})


def why_not_media(source: Path | bytes, error: Exception | None) -> str:
    """The reason, or an empty string when nothing speaks against the file.

    With the `error` that opening it gave there always is a reason.

    Raises:
        RejectedInput: the file cannot be read; its cause says why.
    """
    try:
        with io.BytesIO(source) if isinstance(source, bytes) else source.open("rb") as stream:
            head = stream.read(_SNIFFED_BYTES)
            reason = _judge(head, stream)
    except OSError as problem:
        raise RejectedInput(f"cannot be read: {problem.strerror or problem}") from problem
    if reason or error is None:
        return reason
    return f"not a media file that can be opened: {getattr(error, 'strerror', None) or error}"


def _judge(head: bytes, stream: BinaryIO) -> str:
    if not head:
        return "the file is empty (0 bytes)"
    if _is_text(head):
        return "not a media file: it holds plain text"
    if head[4:8] in _BOXES:
        return _judge_boxes(stream)
    return ""


def _is_text(head: bytes) -> bool:
    """Whether every byte is printable text or white space; media has zeros and control bytes."""
    controls = bytes(set(range(32)) - {9, 10, 12, 13, 27}) + b"\x7f"
    if any(byte in controls for byte in head):
        return False
    try:
        head[: max(1, len(head) - 4)].decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _judge_boxes(stream: BinaryIO) -> str:
    """Walk the top-level boxes of an mp4 or mov file (ISO 14496-12, 4.2)."""
    end = stream.seek(0, io.SEEK_END)
    start, name, names = 0, b"", set[bytes]()
    while start + 8 <= end:
        stream.seek(start)
        header = stream.read(16)
        size, name = struct.unpack(">I4s", header[:8])
        if size == 1 and len(header) == 16:
            size = struct.unpack(">Q", header[8:])[0]
        elif size == 0:
            size = end - start
        names.add(name)
        if size < 8:
            break
        if start + size > end:
            # Any other name is a box that no decoder needs, or junk behind the last box.
            if b"moov" in names and name in _WITH_MEDIA:
                return (
                    f"cut off: box {name.decode('latin-1')} needs {start + size - end} more bytes"
                )
            break
        start += size
    if b"moov" not in names or (start + 8 <= end and name == b"moov"):
        return "cut off before the end of its index (moov): no frame can be located"
    return ""
