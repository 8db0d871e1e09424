"""Bytes of a video -> how many frames it decodes to."""

from __future__ import annotations

from av.error import FFmpegError

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
