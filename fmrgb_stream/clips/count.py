"""Bytes of a video -> how many frames it decodes to, and what packets it holds."""

from __future__ import annotations

from av.error import FFmpegError

from fmrgb_stream.clips.hidden import shows_one_frame
from fmrgb_stream.clips.media import main_streams, open_media
from fmrgb_stream.errors import RejectedInput


def count_frames(content: bytes) -> int:
    """Decode everything and count.

    Raises:
        RejectedInput: not a video, or the codec gives up.
    """
    with open_media(content) as container:
        stream = main_streams(container)[0]
        if stream is None:
            raise RejectedInput("holds no video")
        stream.codec_context.thread_count = 1
        num_frames = 0
        try:
            for _ in container.decode(stream):
                num_frames += 1
        except FFmpegError as error:
            raise RejectedInput(f"after {num_frames} frames: {error}") from error
        return num_frames


def scan_packets(content: bytes) -> tuple[int, bool]:
    """(packets of the video, whether some is not just one shown frame); nothing is decoded.

    Packets that an edit list hides are not counted.

    Raises:
        RejectedInput: not a video, or it breaks off.
    """
    with open_media(content) as container:
        stream = main_streams(container)[0]
        if stream is None:
            raise RejectedInput("holds no video")
        try:
            packets = [packet for packet in container.demux(stream) if packet.size]
        except FFmpegError as error:
            raise RejectedInput(f"cannot be read to its end: {error}") from error
        codec = stream.codec.name
        hides = not all(shows_one_frame(codec, bytes(packet)) for packet in packets)
        return len([packet for packet in packets if not packet.is_discard]), hides
