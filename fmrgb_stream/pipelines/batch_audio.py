"""Spectra of a batch -> its audio planes and mel images, in torch on any device.

The functions of `audio_planes.py`, with the clips of a batch read in one go where they allow it.

Shape legend: B clips, R rows of a spectrum (bands or bins), N spectrogram columns, T clip frames,
H height, W width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import numpy as np
import torch
from torch import Tensor

from fmrgb_stream.channels import DB_RANGE, FULL_SCALE
from fmrgb_stream.config import ClipConfig, MelConfig
from fmrgb_stream.pipelines.audio_layout import AudioLayout
from fmrgb_stream.pipelines.audio_planes import (
    dominant_frequency,
    read_columns,
    rows_to_pixels,
    stretch_extremes,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

_DECIBELS_A_BEL: Final = 10.0


def batch_audio_planes(
    spectra_BRN: Tensor,
    layouts: Sequence[AudioLayout | None],
    is_shown_BT: NDArray[np.bool_],
    *,
    clip: ClipConfig,
) -> Tensor:
    """float32 [B, T, H, W] in 0..1, low frequencies at the bottom; 0 where nothing is shown.

    Args:
        spectra_BRN: dB re full scale, floored at -80; for `simple` the power of bins.
        layouts: of the frames that are shown; None for a clip without sound.
        is_shown_BT: which frames those are.
        clip: its size and `mel`.
    """
    if clip.mel.method in ("mel", "stft"):
        values = _read_together(_unit(spectra_BRN), layouts, is_shown_BT, height=clip.size[0])
    else:
        values = torch.zeros((*is_shown_BT.shape, *clip.size), device=spectra_BRN.device)
        for b, layout in enumerate(layouts):
            if layout is not None:
                shown = torch.from_numpy(is_shown_BT[b]).to(values.device)  # pyright: ignore[reportUnknownMemberType]
                values[b, shown] = _plane(spectra_BRN[b], layout, clip.size, clip.mel)
    return values


def mel_images(
    decibels_BRN: Tensor, layouts: Sequence[AudioLayout | None], *, width: int
) -> Tensor:
    """uint8 [B, 1, R, W]: each clip's whole mel, low band at the bottom; 0 without sound."""
    batch, rows = decibels_BRN.shape[:2]
    images = torch.zeros((batch, 1, rows, width), dtype=torch.uint8, device=decibels_BRN.device)
    for b, layout in enumerate(layouts):
        if layout is not None:
            read_RW = read_columns(_unit(decibels_BRN[b]), layout)[:, 0]
            images[b, 0] = (read_RW.flip(0) * FULL_SCALE).round()
    return images


def _unit(decibels: Tensor) -> Tensor:
    return (decibels / DB_RANGE + 1).clamp(0.0, 1.0)


def _read_together(
    values_BRN: Tensor,
    layouts: Sequence[AudioLayout | None],
    is_shown_BT: NDArray[np.bool_],
    *,
    height: int,
) -> Tensor:
    """All clips' columns side by side, read as if they were one clip's."""
    there = [layout for layout in layouts if layout is not None]
    batch, frames = is_shown_BT.shape
    rows_BHN = rows_to_pixels(values_BRN, height)
    num_columns = rows_BHN.shape[-1]
    num_points = there[0].positions.shape[1] if there else 1
    positions = np.zeros((batch, frames, num_points))
    is_read = np.zeros((batch, frames), np.bool_)
    for b, layout in enumerate(layouts):
        if layout is not None:
            positions[b, is_shown_BT[b]] = layout.positions
            is_read[b] = is_shown_BT[b]
        positions[b] += b * num_columns
    together = AudioLayout(
        runs=(),
        positions=positions.reshape(batch * frames, num_points),
        points_per_pixel=there[0].points_per_pixel if there else 1,
    )
    read = read_columns(rows_BHN.permute(1, 0, 2).flatten(1), together)
    planes_BTHW = read.unflatten(1, (batch, frames)).permute(1, 2, 0, 3)
    mask = torch.from_numpy(is_read).to(read.device)  # pyright: ignore[reportUnknownMemberType]
    return planes_BTHW * mask[:, :, None, None]


def _plane(
    spectrum_RN: Tensor, layout: AudioLayout, size: tuple[int, int], config: MelConfig
) -> Tensor:
    """float32 [T, H, W] of one clip, for the planes that look at the whole clip's values."""
    if config.method == "simple":
        value_T = dominant_frequency(spectrum_RN.sqrt(), layout, config=config)
        return value_T[:, None, None].expand(-1, *size)
    bels_RN = spectrum_RN / _DECIBELS_A_BEL
    values_RN = stretch_extremes(bels_RN, read_columns(bels_RN, layout))
    return read_columns(rows_to_pixels(values_RN, size[0]), layout).transpose(0, 1)
