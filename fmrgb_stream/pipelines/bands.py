"""The constants of an audio plane: window, filters, weights. Numpy alone, made once a setting.

Shape legend: K frequency bins, M bands (mel filters or bins).
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

import numpy as np

from fmrgb_stream.channels import DB_RANGE
from fmrgb_stream.config import MelConfig
from fmrgb_stream.errors import ConfigError

if TYPE_CHECKING:
    from numpy.typing import NDArray

MIN_POWER: Final = 10 ** (-DB_RANGE / 10)
"""Power re full scale at the bottom of the range."""
# Slaney, "Auditory Toolbox" (1998): linear below 1 kHz, then 27 steps for each factor of 6.4.
_SLANEY_HZ_A_MEL: Final = 200 / 3
_SLANEY_BREAK_HZ: Final = 1000.0
_SLANEY_LOG_STEP: Final = np.log(6.4) / 27


def check_mel_range(config: MelConfig, sample_rate: int) -> None:
    """Refuse mel filters that sound of this rate (Hz) cannot fill.

    Raises:
        ConfigError: not 0 <= f_min_hz < f_max_hz <= sample_rate / 2.
    """
    nyquist_hz = sample_rate / 2
    f_max_hz = nyquist_hz if config.f_max_hz is None else config.f_max_hz
    if not config.f_min_hz < f_max_hz <= nyquist_hz:
        raise ConfigError(
            f"mel.f_min_hz={config.f_min_hz}, mel.f_max_hz={config.f_max_hz}: the sound has "
            f"{sample_rate} Hz, so f_min_hz < f_max_hz <= {nyquist_hz:g} is needed "
            "(f_max_hz=None takes the upper end)"
        )


@lru_cache(maxsize=16)
def fourier_window(config: MelConfig) -> NDArray[np.float32]:
    """float32 [n_fft]: a periodic Hann window in the middle of zeros.

    Scaled so that the square of a spectrum under it is power re full scale.
    """
    length = config.win_length_samples
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(length) / length)
    window *= np.sqrt(4.0 / (config.n_fft * np.square(window).sum()))
    left = (config.n_fft - length) // 2
    return np.pad(window, (left, config.n_fft - length - left)).astype(np.float32)


@lru_cache(maxsize=16)
def band_filters(config: MelConfig, sample_rate: int) -> NDArray[np.float32]:
    """float32 [M, K]: power of bins -> power of the plane's bands, lowest first."""
    if config.method == "stft":
        return np.eye(num_stft_bins(config), config.n_fft // 2 + 1, dtype=np.float32)
    return mel_filters(config, sample_rate)


def num_stft_bins(config: MelConfig) -> int:
    """How many frequency bins `stft` shows."""
    return max(1, round((config.n_fft // 2 + 1) * config.stft_keep_fraction))


def mel_filters(config: MelConfig, sample_rate: int) -> NDArray[np.float32]:
    """float32 [M, K] triangular filters, evenly spaced on the mel scale."""
    f_max_hz = config.f_max_hz if config.f_max_hz is not None else sample_rate / 2
    low, high = _mel_of(np.array([config.f_min_hz, f_max_hz]), config).tolist()
    corners_hz = _hz_of(np.linspace(low, high, config.num_mels + 2), config)
    bins_hz = np.linspace(0, sample_rate / 2, config.n_fft // 2 + 1)
    rise = (bins_hz - corners_hz[:-2, None]) / (corners_hz[1:-1] - corners_hz[:-2])[:, None]
    fall = (corners_hz[2:, None] - bins_hz) / (corners_hz[2:] - corners_hz[1:-1])[:, None]
    filters_MK = np.maximum(np.minimum(rise, fall), 0)
    if config.slaney_norm:
        filters_MK *= 2 / (corners_hz[2:] - corners_hz[:-2])[:, None]
    return filters_MK.astype(np.float32)


@lru_cache(maxsize=16)
def resize_weights(num_inputs: int, num_outputs: int) -> NDArray[np.float32]:
    """float32 [num_outputs, num_inputs]: a triangle filter with half-pixel centres, rows add to 1."""
    scale = num_inputs / num_outputs
    support = max(scale, 1.0)
    centres = (np.arange(num_outputs) + 0.5) * scale - 0.5
    # Taps beyond an end read the end's value.
    padding = int(support) + 1
    taps = np.arange(-padding, num_inputs + padding)
    weights = np.maximum(1 - np.abs(taps - centres[:, None]) / support, 0)
    weights /= weights.sum(axis=1, keepdims=True)
    folded = weights[:, padding : padding + num_inputs]
    folded[:, 0] += weights[:, :padding].sum(axis=1)
    folded[:, -1] += weights[:, padding + num_inputs :].sum(axis=1)
    return folded.astype(np.float32)


def _mel_of(hz: NDArray[np.float64], config: MelConfig) -> NDArray[np.float64]:
    if config.mel_scale == "htk":
        return 2595 * np.log10(1 + hz / 700)
    over = np.log(np.maximum(hz, _SLANEY_BREAK_HZ) / _SLANEY_BREAK_HZ) / _SLANEY_LOG_STEP
    return np.minimum(hz, _SLANEY_BREAK_HZ) / _SLANEY_HZ_A_MEL + over


def _hz_of(mel: NDArray[np.float64], config: MelConfig) -> NDArray[np.float64]:
    if config.mel_scale == "htk":
        return 700 * (10 ** (mel / 2595) - 1)
    break_mel = _SLANEY_BREAK_HZ / _SLANEY_HZ_A_MEL
    linear = np.minimum(mel, break_mel) * _SLANEY_HZ_A_MEL
    return linear * np.exp(_SLANEY_LOG_STEP * np.maximum(mel - break_mel, 0))
