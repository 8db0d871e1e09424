"""Waveform -> the 26-value audio feature vector."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from fmrgb_stream.errors import MissingExtraError

if TYPE_CHECKING:
    from numpy.typing import NDArray

NUM_MFCC: Final = 20
FEATURE_NAMES: Final = (
    "chroma_stft",
    "rms",
    "spectral_centroid",
    "spectral_bandwidth",
    "rolloff",
    "zero_crossing_rate",
    *(f"mfcc_{i}" for i in range(1, NUM_MFCC + 1)),
)
N_FFT: Final = 2048


def audio_features(waveform_S: NDArray[np.float32], *, sample_rate: int) -> NDArray[np.float32]:
    """float32 [26]: the mean over time of each of `FEATURE_NAMES`, by librosa with its defaults.

    All 0 for silence, for which most of them are not defined. Sounds shorter than one 2048-sample
    window are padded with silence to that length.

    Raises:
        MissingExtraError: librosa is not installed.
    """
    feature = load_librosa().feature
    if not waveform_S.any():
        return np.zeros(len(FEATURE_NAMES), np.float32)
    y = np.pad(waveform_S, (0, max(0, N_FFT - len(waveform_S))))
    rows = (
        feature.chroma_stft(y=y, sr=sample_rate),
        feature.rms(y=y),
        feature.spectral_centroid(y=y, sr=sample_rate),
        feature.spectral_bandwidth(y=y, sr=sample_rate),
        feature.spectral_rolloff(y=y, sr=sample_rate),
        feature.zero_crossing_rate(y),
    )
    mfcc = feature.mfcc(y=y, sr=sample_rate, n_mfcc=NUM_MFCC)
    return np.array([*(row.mean() for row in rows), *mfcc.mean(axis=1)], np.float32)


def load_librosa() -> Any:
    """The librosa module, which has no types.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        return importlib.import_module("librosa")
    except ImportError as error:
        raise MissingExtraError("librosa", "features", "extras=('audio_features',)") from error
