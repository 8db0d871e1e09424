"""Stretches of sound -> the plane of a clip's `mel` or `stft`, written into the batch.

The values of `audio_planes`, which runs on any device, by other steps that take half of its time on
a CPU (benchmarks/audio_cost.py), in numpy and OpenCV, so that decode processes do not load torch:

1. One real DFT of all columns by OpenCV, which packs the parts of a spectrum into one row.
2. Power, filter bank, decibels. Everything has few rows so far: one for each spectrogram column.
3. Bands become pixel rows before the columns are read: after the clamp both are linear, and their
   order is free.
4. Each pixel column lies between two spectrogram columns, which are rows by then and contiguous.

Shape legend: S audio samples, N spectrogram columns, K frequency bins, M bands, T frames, H height,
W width, P pixel columns of all frames (T * W).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final

import cv2
import numpy as np

from fmrgb_stream.channels import DB_RANGE, FULL_SCALE
from fmrgb_stream.config import MelConfig
from fmrgb_stream.pipelines.audio_layout import AudioLayout
from fmrgb_stream.pipelines.bands import (
    MIN_POWER,
    band_filters,
    fourier_window,
    num_stft_bins,
    resize_weights,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

BAND_METHODS: Final = ("mel", "stft")
"""The audio planes that are rows of decibels."""
_FLOOR: Final = np.float32(MIN_POWER)
_CEILING: Final = np.float32(1)


def write_band_plane(
    stretches: list[NDArray[np.float32]],
    layout: AudioLayout,
    target_THW: NDArray[np.generic],
    *,
    sample_rate: int,
    config: MelConfig,
) -> None:
    """Write the plane, low band at the bottom: uint8 0..255, rounded, or float 0..1.

    Args:
        stretches: float32 [num_samples] in -1..1, one for each run of the layout.
        layout: from `frame_layout`, for the target's T and W.
        target_THW: uint8, float16 or float32.
        sample_rate: Hz.
        config: its `method` is `mel` or `stft`.
    """
    num_frames, height, width = target_THW.shape
    is_quantised = target_THW.dtype == np.uint8
    to_pixels = _to_pixels(config, sample_rate, height, FULL_SCALE if is_quantised else 1)
    bels_NM = _bels(stretches, sample_rate=sample_rate, config=config)
    values_NH = bels_NM @ to_pixels.weights_MH
    values_NH += to_pixels.at_zero_bels
    if not is_quantised:
        values_NH.clip(0, 1, out=values_NH)  # rounding must not tell from silence
    pixels_PH = _read_columns(values_NH, layout)
    pixels_HP = cv2.transpose(pixels_PH.astype(np.uint8) if is_quantised else pixels_PH)
    target_THW[...] = pixels_HP.reshape(height, num_frames, width).transpose(1, 0, 2)


def band_image(
    stretches: list[NDArray[np.float32]],
    layout: AudioLayout,
    *,
    sample_rate: int,
    config: MelConfig,
) -> NDArray[np.uint8]:
    """uint8 [M, W]: the bands of a whole clip, not resized, low band at the bottom.

    Args:
        stretches: as for `write_band_plane`.
        layout: from `span_layout`.
        sample_rate: Hz.
        config: its `method` is `mel` or `stft`.
    """
    bels_NM = _bels(stretches, sample_rate=sample_rate, config=config)
    values_WM = _read_columns(bels_NM, layout) * np.float32(10 / DB_RANGE) + 1
    return np.rint(values_WM.clip(0, 1).T[::-1] * FULL_SCALE).astype(np.uint8)


@dataclass(frozen=True, slots=True, kw_only=True)
class _ToPixels:
    """Bels of bands -> values of pixel rows."""

    weights_MH: NDArray[np.float32]
    at_zero_bels: np.float32
    """The plane's value there; for uint8 a half more, so that the cast rounds."""


@lru_cache(maxsize=16)
def _to_pixels(config: MelConfig, sample_rate: int, height: int, full_scale: int) -> _ToPixels:
    weights_HM = resize_weights(len(band_filters(config, sample_rate)), height)[::-1]
    return _ToPixels(
        weights_MH=np.ascontiguousarray(weights_HM.T * np.float32(full_scale * 10 / DB_RANGE)),
        at_zero_bels=np.float32(full_scale + (0.5 if full_scale > 1 else 0)),
    )


@lru_cache(maxsize=16)
def _filters_KM(config: MelConfig, sample_rate: int) -> NDArray[np.float32]:
    return np.ascontiguousarray(band_filters(config, sample_rate).T)


def _bels(
    stretches: list[NDArray[np.float32]], *, sample_rate: int, config: MelConfig
) -> NDArray[np.float32]:
    """float32 [N, M]: log10 of the bands' power, clamped to the plane's range."""
    powers_NK = [_power(waveform_S, config) for waveform_S in stretches]
    power_NK = powers_NK[0] if len(powers_NK) == 1 else np.concatenate(powers_NK)
    if config.method == "stft":
        power_NM = np.ascontiguousarray(power_NK[:, : num_stft_bins(config)])
    else:
        power_NM = power_NK @ _filters_KM(config, sample_rate)
    np.maximum(power_NM, _FLOOR, out=power_NM)
    np.minimum(power_NM, _CEILING, out=power_NM)
    return np.log10(power_NM, out=power_NM)


def _power(waveform_S: NDArray[np.float32], config: MelConfig) -> NDArray[np.float32]:
    """float32 [N, K] power of bins re full scale."""
    n_fft, hop = config.n_fft, config.hop_length_samples
    columns_NS = np.lib.stride_tricks.sliding_window_view(waveform_S, n_fft)[::hop]
    parts_NR = columns_NS * fourier_window(config)
    # In place, because a second buffer of this size would push this one out of the core's cache.
    cv2.dft(parts_NR, parts_NR, cv2.DFT_ROWS)
    np.multiply(parts_NR, parts_NR, out=parts_NR)
    # OpenCV packs a row as Re 0, Re 1, Im 1, Re 2, Im 2, ...; an even length ends with a real part.
    power_NK = np.empty((len(parts_NR), n_fft // 2 + 1), np.float32)
    power_NK[:, 0] = parts_NR[:, 0]
    num_pairs = (n_fft - 1) // 2
    pairs_NK = parts_NR[:, 1 : 1 + 2 * num_pairs]
    np.add(pairs_NK[:, 0::2], pairs_NK[:, 1::2], out=power_NK[:, 1 : 1 + num_pairs])
    if n_fft % 2 == 0:
        power_NK[:, -1] = parts_NR[:, -1]
    return power_NK


def _read_columns(values_NH: NDArray[np.float32], layout: AudioLayout) -> NDArray[np.float32]:
    """float32 [P, H]: rows read at the layout's places between them, averaged over its points."""
    positions = layout.positions.ravel()
    index = positions.astype(np.int64)
    fraction = (positions - index).astype(np.float32)[:, None]
    steps_NH = values_NH[1:] - values_NH[:-1]
    read = steps_NH.take(index, axis=0)
    read *= fraction
    read += values_NH.take(index, axis=0)
    if layout.points_per_pixel == 1:
        return read
    return read.reshape(-1, layout.points_per_pixel, read.shape[1]).mean(axis=1)
