"""The bytes of a sample -> (key, clip), inside a worker."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.throughput.contract import BenchClip
from benchmarks.throughput.peers.decoders import Decode, Pictures
from benchmarks.throughput.peers.source_sound import source_reader
from benchmarks.throughput.recipe import ClipMaker, ReadSound, flac_reader

if TYPE_CHECKING:
    from numpy.typing import NDArray

KeyedClip = tuple[str, "NDArray[np.uint8]"]


class WorkerClips:
    """Makes clips with one decoder; travels to a worker and makes its estimators there."""

    def __init__(self, clip: BenchClip, decode: Decode) -> None:
        """Remember what to make."""
        self._clip = clip
        self._decode = decode
        self._maker: ClipMaker | None = None

    def packed(self, key: str, video: bytes, sound: bytes) -> KeyedClip:
        """From the members that `fmrgb pack` wrote: a small mp4 and a FLAC."""
        return key, self.assemble(self._decode(video, self._clip), flac_reader(sound))

    def source(self, key: str, file: bytes | Path) -> KeyedClip:
        """From a source file with its sound inside."""
        return key, self.assemble(self._decode(file, self._clip), source_reader(file))

    def assemble(self, pictures: Pictures, read_sound: ReadSound) -> NDArray[np.uint8]:
        """uint8 [C, T, H, W] of decoded pictures and a sound that is read when it is needed."""
        self._maker = self._maker or ClipMaker(self._clip)
        return self._maker.make(
            pictures.rgb_NHW3, pictures.window, fps=pictures.fps, read_sound=read_sound
        )
