"""Waveform -> audio planes of a clip, in torch on any device. Both pipelines call these functions.

power     P = 4 |X|^2 / (n_fft sum(window^2)): the bins of a full-scale sine add up to 1 (Parseval).
dB        10 log10(max(filters . P, 1e-8)), in -80..0 re full scale; plane value dB / 80 + 1.

Shape legend: ... any leading dimensions, S audio samples, K frequency bins, M bands (mel filters or
bins), N spectrogram columns, T frames, H height, W width.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

import torch
import torchaudio
from torch import Tensor

from fmrgb_stream.channels import DB_RANGE
from fmrgb_stream.config import MelConfig
from fmrgb_stream.errors import ConfigError
from fmrgb_stream.pipelines.audio_layout import AudioLayout

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MIN_POWER: Final = 10 ** (-DB_RANGE / 10)
"""Power re full scale at the bottom of the range."""


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
    values_MTW = read_columns(values_MN, layout)
    if config.method == "logmel":
        values_MTW = stretch_extremes(values_MTW)
    return rows_to_pixels(values_MTW, height)


def mel_image(
    stretches: list[Tensor], layout: AudioLayout, *, sample_rate: int, config: MelConfig
) -> Tensor:
    """Log-mel of a whole clip, float32 [M, W] in 0..1, low band at the bottom.

    Args:
        stretches: as for `audio_planes`.
        layout: from `span_layout`.
        sample_rate: Hz.
        config: its `method` should be `mel`.
    """
    powers_KN = torch.cat([spectrogram_power(x, config=config) for x in stretches], dim=-1)
    values_MN = band_values(powers_KN, sample_rate=sample_rate, config=config)
    return read_columns(values_MN, layout)[:, 0].flip(0)


def spectrogram_power(waveform_S: Tensor, *, config: MelConfig) -> Tensor:
    """float32 [..., K, N] power re full scale; column n is centred on sample n * hop + n_fft / 2."""
    window = torch.hann_window(config.win_length_samples, periodic=True, device=waveform_S.device)
    spectrum_KN = torch.stft(
        waveform_S,
        n_fft=config.n_fft,
        hop_length=config.hop_length_samples,
        win_length=config.win_length_samples,
        window=window,
        center=False,
        return_complex=True,
    )
    # The periodic Hann window's squares add up to 3/8 of its length (for lengths above 2).
    scale = 4.0 / (config.n_fft * float(window.double().square().sum()))
    return (spectrum_KN.real.square() + spectrum_KN.imag.square()) * scale


def band_values(powers_KN: Tensor, *, sample_rate: int, config: MelConfig) -> Tensor:
    """Power of bins -> what the plane shows of each band, [..., M, N], lowest band first.

    `mel` and `stft`: dB / 80 + 1 in 0..1. `logmel`: log10 of the floored mel power, in -8..
    """
    if config.method == "stft":
        num_bins = max(1, round(powers_KN.shape[-2] * config.stft_keep_fraction))
        return decibel_values(powers_KN[..., :num_bins, :])
    filters_MK = mel_filters(config, sample_rate).to(powers_KN.device)
    mel_MN = filters_MK @ powers_KN
    if config.method == "logmel":
        return mel_MN.clamp(min=MIN_POWER).log10()
    return decibel_values(mel_MN)


def decibel_values(power: Tensor) -> Tensor:
    """Plane value of a power re full scale: dB / 80 + 1, clamped to 0..1."""
    return (power.clamp(min=MIN_POWER).log10() * (10 / DB_RANGE) + 1).clamp(0.0, 1.0)


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
def mel_filters(config: MelConfig, sample_rate: int) -> Tensor:
    """float32 [M, K] triangular filters on the CPU; torchaudio's, transposed."""
    filters_KM = torchaudio.functional.melscale_fbanks(
        n_freqs=config.n_fft // 2 + 1,
        f_min=config.f_min_hz,
        f_max=config.f_max_hz if config.f_max_hz is not None else sample_rate / 2,
        n_mels=config.num_mels,
        sample_rate=sample_rate,
        norm="slaney" if config.slaney_norm else None,
        mel_scale=config.mel_scale,
    )
    return filters_KM.T.contiguous()


def read_columns(values_MN: Tensor, layout: AudioLayout) -> Tensor:
    """Values at the layout's places between columns, [M, T, W]."""
    device = values_MN.device
    index, fraction = _split_positions(layout.positions)
    index, fraction = index.to(device), fraction.to(device)
    before = values_MN.index_select(-1, index.flatten())
    after = values_MN.index_select(-1, index.flatten() + 1)
    read = torch.lerp(before, after, fraction.flatten())
    read_MTW = read.reshape(values_MN.shape[0], layout.positions.shape[0], -1)
    if layout.points_per_pixel == 1:
        return read_MTW
    return read_MTW.unflatten(-1, (-1, layout.points_per_pixel)).mean(dim=-1)


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


def stretch_extremes(values: Tensor) -> Tensor:
    """Values between their own extremes as 0..1; all 0 where the extremes are equal."""
    low, high = values.amin(), values.amax()
    span = high - low
    return torch.where(span > 0, (values - low) / span.clamp(min=1e-12), torch.zeros_like(values))


def rows_to_pixels(values_MTW: Tensor, height: int) -> Tensor:
    """[T, H, W] from [M, T, W]: bands resized to pixel rows, the lowest at the bottom.

    Linear between band centres (half-pixel rule); the filter widens when there are more bands than
    rows, so that no band falls between two rows.
    """
    num_bands, num_frames, width = values_MTW.shape
    weights_HM = resize_weights(num_bands, height).flip(0).to(values_MTW.device)
    pixels_HTW = (weights_HM @ values_MTW.reshape(num_bands, -1)).reshape(height, num_frames, width)
    return pixels_HTW.transpose(0, 1)


@lru_cache(maxsize=16)
def resize_weights(num_inputs: int, num_outputs: int) -> Tensor:
    """float32 [num_outputs, num_inputs]: a triangle filter with half-pixel centres, rows add to 1."""
    scale = num_inputs / num_outputs
    support = max(scale, 1.0)
    centres = (torch.arange(num_outputs, dtype=torch.float64) + 0.5) * scale - 0.5
    # Taps beyond an end read the end's value.
    padding = int(support) + 1
    taps = torch.arange(-padding, num_inputs + padding, dtype=torch.float64)
    weights = (1 - (taps - centres[:, None]).abs() / support).clamp(min=0)
    weights = weights / weights.sum(dim=1, keepdim=True)
    folded = torch.zeros(num_outputs, num_inputs, dtype=torch.float64)
    folded.index_add_(1, taps.clamp(0, num_inputs - 1).long(), weights)
    return folded.float()


def _split_positions(positions: NDArray[np.float64]) -> tuple[Tensor, Tensor]:
    index = positions.astype("int64")
    fraction = (positions - index).astype("float32")
    return torch.from_numpy(index), torch.from_numpy(fraction)  # pyright: ignore[reportUnknownMemberType]
