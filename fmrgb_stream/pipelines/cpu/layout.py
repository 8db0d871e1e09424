"""Where the values of a batch lie in its memory: one block of bytes, which workers write in parallel.

Shape legend: B batch, C planes, T clip frames, H height, W width, M mel bands, S audio samples,
F audio features.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from fmrgb_stream.config import ClipConfig
from fmrgb_stream.pipelines.cpu.order import WaveformSpan

if TYPE_CHECKING:
    from numpy.typing import NDArray

ALIGNMENT_BYTES: Final = 64
"""Every column starts on a cache line."""
NUM_FEATURES: Final = 26


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipArrays:
    """One clip's places in the memory of its batch; None for what was not asked for."""

    planes_CTHW: NDArray[np.generic]
    times_seconds_T: NDArray[np.float64]
    mel_image_MW: NDArray[np.uint8] | None
    waveform_S: NDArray[np.float32] | None
    audio_features_F: NDArray[np.float32] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column of a batch: [B, ...] of one dtype from byte `start` on."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    start: int

    @property
    def stop(self) -> int:
        """The byte after the last."""
        return self.start + math.prod(self.shape) * self.dtype.itemsize

    def array(self, memory: NDArray[np.uint8]) -> NDArray[Any]:
        """This column of a batch's memory."""
        return memory[self.start : self.stop].view(self.dtype).reshape(self.shape)


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchLayout:
    """The columns of a batch."""

    planes_BCTHW: Column
    times_seconds_BT: Column
    mel_image_BMW: Column | None
    waveform_BS: Column | None
    audio_features_BF: Column | None
    num_bytes: int

    def clip(self, memory: NDArray[np.uint8], place: int) -> ClipArrays:
        """Clip `place` of the batch in this memory."""

        def part(column: Column | None) -> NDArray[Any] | None:
            return None if column is None else column.array(memory)[place]

        return ClipArrays(
            planes_CTHW=self.planes_BCTHW.array(memory)[place],
            times_seconds_T=self.times_seconds_BT.array(memory)[place],
            mel_image_MW=part(self.mel_image_BMW),
            waveform_S=part(self.waveform_BS),
            audio_features_F=part(self.audio_features_BF),
        )


@lru_cache(maxsize=16)
def batch_layout(clip: ClipConfig, span: WaveformSpan, batch_size: int) -> BatchLayout:
    """The layout of a batch of `batch_size` clips."""
    stop = 0

    def column(shape: tuple[int, ...], dtype: str) -> Column:
        nonlocal stop
        start = -(-stop // ALIGNMENT_BYTES) * ALIGNMENT_BYTES
        placed = Column(shape=(batch_size, *shape), dtype=np.dtype(dtype), start=start)
        stop = placed.stop
        return placed

    def extra(name: str, shape: tuple[int, ...], dtype: str) -> Column | None:
        return column(shape, dtype) if name in clip.extras else None

    return BatchLayout(
        planes_BCTHW=column((len(clip.planes), clip.num_frames, *clip.size), clip.dtype),
        times_seconds_BT=column((clip.num_frames,), "float64"),
        mel_image_BMW=extra("mel_image", (clip.mel.num_mels, clip.size[1]), "uint8"),
        waveform_BS=extra("waveform", (span.num_samples,), "float32"),
        audio_features_BF=extra("audio_features", (NUM_FEATURES,), "float32"),
        num_bytes=stop,
    )
