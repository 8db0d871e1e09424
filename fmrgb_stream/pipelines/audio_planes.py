"""Waveform -> audio planes of a clip, in torch on any device. Both pipelines call these functions.

power     P = 4 |X|^2 / (n_fft sum(window^2)): the bins of a full-scale sine add up to 1 (Parseval).
dB        10 log10(max(filters . P, 1e-8)), in -80..0 re full scale; plane value dB / 80 + 1.

Shape legend: ... any leading dimensions, S audio samples, K frequency bins, M bands (mel filters or
bins), N spectrogram columns, T frames, H height, W width.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from functools import lru_cache
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from fmrgb_stream.channels import DB_RANGE
from fmrgb_stream.config import MelConfig
from fmrgb_stream.pipelines.audio_layout import AudioLayout
from fmrgb_stream.pipelines.bands import (
    MIN_POWER,
    fourier_window,
    mel_filters,
    num_stft_bins,
    resize_weights,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def audio_planes(
    stretches: list[Tensor],
    layout: AudioLayout,
    *,
    size: tuple[int, int],
    sample_rate: int,
    config: MelConfig,
) -> Tensor:
    """The audio planes of one clip, float32 [T, H, W] in 0..1, low frequencies at the bottom.

    Args:
        stretches: float32 [num_samples] in -1..1, one for each run of the layout.
        layout: from `frame_layout`.
        size: (H, W); the layout was made for W.
        sample_rate: Hz.
        config: `method` chooses the plane.
    """
    height, width = size
    powers_KN = torch.cat([spectrogram_power(x, config=config) for x in stretches], dim=-1)
    if config.method == "simple":
        value_T = dominant_frequency(powers_KN.sqrt(), layout, config=config)
        return value_T[:, None, None].expand(-1, height, width)
    values_MN = band_values(powers_KN, sample_rate=sample_rate, config=config)
    if config.method == "logmel":
        # The extremes are those of what is shown, between the columns.
        values_MN = stretch_extremes(values_MN, read_columns(values_MN, layout))
    # Both are linear; there are fewer columns before they are read.
    values_HN = rows_to_pixels(values_MN, height)
    return read_columns(values_HN, layout).transpose(0, 1)


def spectrogram_power(waveform_S: Tensor, *, config: MelConfig) -> Tensor:
    """float32 [..., K, N] power re full scale; column n is centred on sample n * hop + n_fft / 2."""
    spectrum_KN = torch.stft(
        waveform_S,
        n_fft=config.n_fft,
        hop_length=config.hop_length_samples,
        window=_constant(fourier_window, waveform_S.device, config),
        center=False,
        return_complex=True,
    )
    return spectrum_KN.real.square() + spectrum_KN.imag.square()


def band_values(powers_KN: Tensor, *, sample_rate: int, config: MelConfig) -> Tensor:
    """Power of bins -> what the plane shows of each band, [..., M, N], lowest band first.

    `mel` and `stft`: dB / 80 + 1 in 0..1. `logmel`: log10 of the floored mel power, in -8..
    """
    if config.method == "stft":
        return decibel_values(powers_KN[..., : num_stft_bins(config), :])
    mel_MN = _constant(mel_filters, powers_KN.device, config, sample_rate) @ powers_KN
    if config.method == "logmel":
        return mel_MN.clamp(min=MIN_POWER).log10()
    return decibel_values(mel_MN)


def decibel_values(power: Tensor) -> Tensor:
    """Plane value of a power re full scale: dB / 80 + 1, clamped to 0..1."""
    return (power.clamp(min=MIN_POWER).log10() * (10 / DB_RANGE) + 1).clamp(0.0, 1.0)


def read_columns(values_MN: Tensor, layout: AudioLayout) -> Tensor:
    """Values at the layout's places between columns, [M, T, W]."""
    index, fraction = (
        torch.from_numpy(part).to(values_MN.device)  # pyright: ignore[reportUnknownMemberType]
        for part in split_positions(layout.positions)
    )
    read = read_places(values_MN, index.flatten(), fraction.flatten())
    read_MTW = read.reshape(values_MN.shape[0], layout.positions.shape[0], -1)
    if layout.points_per_pixel == 1:
        return read_MTW
    return read_MTW.unflatten(-1, (-1, layout.points_per_pixel)).mean(dim=-1)


def read_places(values_MN: Tensor, index_P: Tensor, fraction_P: Tensor) -> Tensor:
    """[M, P]: between columns `index` and `index + 1`, all on one device."""
    # The last column has none behind it, and is only read at fraction 0.
    behind = (index_P + 1).clamp(max=values_MN.shape[-1] - 1)
    before, after = values_MN.index_select(-1, index_P), values_MN.index_select(-1, behind)
    return torch.lerp(before, after, fraction_P)


def split_positions(
    positions: NDArray[np.float64],
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Places between columns as (int64 column before, float32 way to the next one)."""
    index = positions.astype("int64")
    return index, (positions - index).astype("float32")


def dominant_frequency(amplitudes_KN: Tensor, layout: AudioLayout, *, config: MelConfig) -> Tensor:
    """float32 [T] in 0..1: the strongest frequency of each frame's window; silence gives 0.

    The amplitudes of the window's columns are added up before the largest bin is taken. The value
    is f / nyquist, or f / (largest f of the clip) with `simple_scale="clip"`.
    """
    amplitude_KT = read_columns(amplitudes_KN, layout).sum(dim=-1)
    bin_T = amplitude_KT.argmax(dim=0).float()
    if config.simple_scale == "nyquist":
        return bin_T / (amplitudes_KN.shape[0] - 1)
    return bin_T / bin_T.max().clamp(min=1.0)


def stretch_extremes(values: Tensor, shown: Tensor) -> Tensor:
    """Values between the extremes of `shown` as 0..1; all 0 where the extremes are equal."""
    low, high = shown.amin(), shown.amax()
    span = high - low
    return torch.where(span > 0, (values - low) / span.clamp(min=1e-12), torch.zeros_like(values))


def rows_to_pixels(values_MN: Tensor, height: int) -> Tensor:
    """[..., H, N] from [..., M, N]: bands resized to pixel rows, the lowest at the bottom.

    Linear between band centres (half-pixel rule); the filter widens when there are more bands than
    rows, so that no band falls between two rows.
    """
    weights_HM = _constant(resize_weights, values_MN.device, values_MN.shape[-2], height)
    return weights_HM.flip(0) @ values_MN


@lru_cache(maxsize=32)
def _constant(
    make: Callable[..., NDArray[np.float32]], device: torch.device, *arguments: Hashable
) -> Tensor:
    """What `make` makes, on the device; made and copied there once."""
    return torch.from_numpy(make(*arguments)).to(device)  # pyright: ignore[reportUnknownMemberType]
