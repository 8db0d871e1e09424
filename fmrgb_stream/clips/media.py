"""Path or bytes -> an opened container, its main streams, and how its pictures are coloured."""

from __future__ import annotations

import io
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import av
from av.error import FFmpegError
from av.stream import Disposition

from fmrgb_stream.clips.containers import why_not_media
from fmrgb_stream.errors import RejectedInput

if TYPE_CHECKING:
    from av.audio.stream import AudioStream
    from av.container import InputContainer
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

# Playlist formats (hls, dash, concat) would open other files or URLs named inside a data file.
_FORMATS: Final = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,flv,live_flv,mpegts,mpeg,mpegvideo,asf,h264,hevc,"
    "m4v,h263,ivf,dv,mxf,nut,rm,gif,wav,w64,aiff,au,caf,flac,mp3,aac,ac3,eac3,ogg,amr,wv,ape,tta"
)
_OPEN_OPTIONS: Final = {"format_whitelist": _FORMATS, "protocol_whitelist": "file"}
_MATRICES: Final = {
    1: "bt709",
    4: "bt601",
    5: "bt601",
    6: "bt601",
    7: "bt709",
    9: "bt2020",
    10: "bt2020",
}
HD_HEIGHT: Final = 720
"""Pictures at least this high are read as BT.709 when they do not say what they are."""


@contextmanager
def open_media(source: Path | bytes) -> Generator[InputContainer]:
    """Open a file or bytes for reading; only formats that cannot refer to other files.

    Raises:
        RejectedInput: not media, with the likely reason.
    """
    try:
        opened = av.open(
            io.BytesIO(source) if isinstance(source, bytes) else str(source.absolute()),
            "r",
            options=_OPEN_OPTIONS,
            metadata_errors="replace",
        )
    except (FFmpegError, ValueError) as error:
        raise RejectedInput(why_not_media(source, error)) from error
    with opened:
        yield opened


def main_streams(container: InputContainer) -> tuple[VideoStream | None, AudioStream | None]:
    """The first video stream that is no attached picture, and the first audio stream."""
    pictures = [
        stream
        for stream in container.streams.video
        if not (stream.disposition & Disposition.attached_pic)
    ]
    sounds = container.streams.audio
    return (pictures[0] if pictures else None), (sounds[0] if sounds else None)


def picture_colors(frame: VideoFrame) -> tuple[str, bool]:
    """(matrix, is full range) that a decoded frame must be read with.

    Unspecified: BT.709 from 720 lines on, else BT.601, as players do.
    """
    default = "bt709" if frame.height >= HD_HEIGHT else "bt601"
    matrix = _MATRICES.get(int(frame.colorspace), default)
    is_full = int(frame.color_range) == 2 or frame.format.name.startswith(("yuvj", "rgb", "gbr"))
    return matrix, is_full
