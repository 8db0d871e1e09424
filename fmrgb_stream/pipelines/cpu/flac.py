"""Blocks of a FLAC file in memory -> their samples, decoded by FFmpeg in one call.

FFmpeg takes the bytes of many blocks as one packet and checks each block's checksum, so no file
object with Python callbacks stands between, and one call decodes a clip's sound.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import av
import numpy as np
from av.error import FFmpegError

from fmrgb_stream.clips.flac import FlacLayout

if TYPE_CHECKING:
    from av.audio.codeccontext import AudioCodecContext
    from numpy.typing import NDArray

_STRICT: Final = {"err_detect": "crccheck+explode"}
"""Without it FFmpeg delivers what a broken block gives."""


class FlacDecoder:
    """Decodes stretches of files whose layout is known. Belongs to one thread.

    The FFmpeg decoder is kept while the files' blocks are alike, which saves making it anew.
    """

    def __init__(self) -> None:
        """Nothing is made yet."""
        self._context: AudioCodecContext | None = None
        self._made_for: tuple[int, int] | None = None

    def decode(
        self, content: memoryview, layout: FlacLayout, *, first: int, stop: int
    ) -> NDArray[np.int16]:
        """int16 [stop - first]: the samples from `first` up to `stop`, both inside the file.

        Raises:
            ValueError: the blocks are missing or broken; says how.
        """
        first_block, stop_block = first // layout.block_samples, -(-stop // layout.block_samples)
        begin, end = (layout.find_block(content, x) for x in (first_block, stop_block))
        if begin is None or end is None:
            raise ValueError(f"block {first_block if begin is None else stop_block} is missing")
        try:
            # PyAV takes any buffer for a packet and is one at each plane, though its types are silent.
            packet = av.Packet(content[begin:end])  # pyright: ignore[reportArgumentType]
            frames = self._context_for(layout).decode(packet)
        except FFmpegError as error:
            self._context = None  # it may hold the rest of the broken packet
            raise ValueError(f"blocks {first_block} to {stop_block - 1}: {error}") from error
        parts: list[NDArray[np.int16]] = [
            np.frombuffer(frame.planes[0], np.int16, frame.samples)  # pyright: ignore[reportArgumentType, reportCallIssue]
            for frame in frames
        ]
        num_decoded = first_block * layout.block_samples + sum(map(len, parts))
        expected = min(stop_block * layout.block_samples, layout.num_samples)
        if num_decoded != expected:
            raise ValueError(f"the blocks end at sample {num_decoded}, not at {expected}")
        skip = first - first_block * layout.block_samples
        return np.concatenate(parts)[skip : skip + stop - first]

    def _context_for(self, layout: FlacLayout) -> AudioCodecContext:
        wanted = (layout.sample_rate, layout.block_samples)
        if self._context is None or wanted != self._made_for:
            context = av.CodecContext.create("flac", "r")
            context.extradata = layout.stream_info
            context.thread_count = 1
            context.options = dict(_STRICT)
            self._context, self._made_for = context, wanted
        return self._context
