"""One stretch of a file's sound -> mono FLAC whose sample 0 is at the stretch's first frame."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import soundfile

from fmrgb_stream.clips.flac import add_seek_table
from fmrgb_stream.clips.sound import cut_waveform
from fmrgb_stream.clips.streams import AudioProbe
from fmrgb_stream.errors import RejectedInput
from fmrgb_stream.packing.trouble import machine_trouble

if TYPE_CHECKING:
    from numpy.typing import NDArray

    FloatArray = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sound:
    """The sound of one sample."""

    flac: bytes
    num_samples: int
    warning: str
    """What was wrong with the track, though not enough to do without it; else empty."""


def cut_sound(
    path: Path,
    audio: AudioProbe,
    *,
    start_seconds: float,
    duration_seconds: float,
    sample_rate: int,
) -> Sound:
    """Cut, mix to mono, resample and compress one stretch; silence where the track has nothing.

    `start_seconds` is on the container's clock. The result has round(duration * rate) samples. A
    track that breaks off keeps what comes before, as cut-off recordings do.

    Raises:
        RejectedInput: nothing of the stretch can be decoded; says at which second.
    """
    cut = cut_waveform(
        path,
        audio,
        start_seconds=start_seconds,
        duration_seconds=duration_seconds,
        sample_rate=sample_rate,
    )
    if cut.error is not None and machine_trouble(cut.error, path) is not None:
        raise RejectedInput(cut.problem) from cut.error
    flac = encode_flac(cut.samples, sample_rate)
    return Sound(flac=flac, num_samples=len(cut.samples), warning=cut.problem)


def encode_flac(samples: FloatArray, sample_rate: int) -> bytes:
    """16-bit mono FLAC of float32 [S] in -1..1, with a seek point for each block; louder is clipped."""
    quantised = np.clip(np.rint(samples * 32767.0), -32768, 32767).astype(np.int16)
    buffer = io.BytesIO()
    soundfile.write(buffer, quantised, sample_rate, format="FLAC", subtype="PCM_16")
    return add_seek_table(buffer.getvalue())
