"""Spectra of a batch -> its audio planes and mel images, in torch on any device.

The formulas of `audio_planes.py`, with the columns of all clips side by side, so that a batch is
read in one go. What has to come from the host is made as arrays first, for one copy.

Shape legend: B clips, R rows of a spectrum (bands or bins), N spectrogram columns, T clip frames,
H height, W width, P places that are read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import torch
from torch import Tensor

from fmrgb_stream.channels import DB_RANGE, FULL_SCALE
from fmrgb_stream.config import ClipConfig, MelConfig
from fmrgb_stream.pipelines.audio_layout import AudioLayout
from fmrgb_stream.pipelines.audio_planes import read_places, rows_to_pixels, split_positions

if TYPE_CHECKING:
    from numpy.typing import NDArray

_DECIBELS_A_BEL: Final = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchPlaces:
    """Where the clips of a batch read their spectra."""

    arrays: Mapping[str, NDArray[np.generic]]
    """By name: `audio_index` int64 [P], `audio_fraction` float32 [P], `audio_is_read` bool [B, T]."""
    points_per_pixel: int


def batch_places(
    layouts: Sequence[AudioLayout | None], is_shown_BT: NDArray[np.bool_], *, num_columns: int
) -> BatchPlaces:
    """The places of the frames that are shown, among the N columns of each clip.

    Args:
        layouts: of the frames that are shown; None for a clip without sound.
        is_shown_BT: which frames those are.
        num_columns: N.
    """
    there = [layout for layout in layouts if layout is not None]
    num_points = there[0].positions.shape[1] if there else 1
    positions = np.zeros((*is_shown_BT.shape, num_points))
    is_read = np.zeros_like(is_shown_BT)
    for b, layout in enumerate(layouts):
        if layout is not None:
            positions[b, is_shown_BT[b]] = layout.positions
            is_read[b] = is_shown_BT[b]
        positions[b] += b * num_columns
    index, fraction = split_positions(positions.reshape(-1))
    return BatchPlaces(
        arrays={"audio_index": index, "audio_fraction": fraction, "audio_is_read": is_read},
        points_per_pixel=there[0].points_per_pixel if there else num_points,
    )


def batch_audio_planes(
    spectra_BRN: Tensor, tables: Mapping[str, Tensor], *, points_per_pixel: int, clip: ClipConfig
) -> Tensor:
    """float32 [B, T, H, W] in 0..1, low frequencies at the bottom; 0 where nothing is shown.

    Args:
        spectra_BRN: dB re full scale, floored at -80; for `simple` the power of bins.
        tables: the arrays of `BatchPlaces` on the device of the spectra.
        points_per_pixel: of `BatchPlaces`.
        clip: its size and `mel`.
    """
    is_read_BT = tables["audio_is_read"]

    def read(values_BRN: Tensor) -> Tensor:
        """[R, B, T, W], or W = 1 where no clip has sound."""
        side_by_side = values_BRN.permute(1, 0, 2).flatten(1)
        found = read_places(side_by_side, tables["audio_index"], tables["audio_fraction"])
        return found.reshape(len(found), *is_read_BT.shape, -1, points_per_pixel).mean(dim=-1)

    if clip.mel.method == "simple":
        value_BT = _dominant(read(spectra_BRN.sqrt()).sum(dim=-1), is_read_BT, clip.mel)
        return value_BT[:, :, None, None].expand(-1, -1, *clip.size)
    if clip.mel.method == "logmel":
        bels_BRN = spectra_BRN / _DECIBELS_A_BEL
        values_BRN = _stretched(bels_BRN, read(bels_BRN), is_read_BT)
    else:
        values_BRN = _unit(spectra_BRN)
    planes_BTHW = read(rows_to_pixels(values_BRN, clip.size[0])).permute(1, 2, 0, 3)
    return planes_BTHW.masked_fill(~is_read_BT[:, :, None, None], 0.0)


def image_arrays(layouts: Sequence[AudioLayout | None]) -> dict[str, NDArray[np.generic]]:
    """What `mel_images` needs of the host: `image_index` and `image_fraction`, clip after clip."""
    positions = [x.positions.reshape(-1) for x in layouts if x is not None]
    index, fraction = split_positions(np.concatenate([np.zeros(0), *positions]))
    return {"image_index": index, "image_fraction": fraction}


def mel_images(
    decibels_BRN: Tensor,
    layouts: Sequence[AudioLayout | None],
    tables: Mapping[str, Tensor],
    *,
    width: int,
) -> Tensor:
    """uint8 [B, 1, R, W]: each clip's whole mel, low band at the bottom; 0 without sound."""
    batch, rows = decibels_BRN.shape[:2]
    images = torch.zeros((batch, 1, rows, width), dtype=torch.uint8, device=decibels_BRN.device)
    first = 0
    for b, layout in enumerate(layouts):
        if layout is None:
            continue
        part = slice(first, first + layout.positions.size)
        first = part.stop
        read = read_places(
            _unit(decibels_BRN[b]), tables["image_index"][part], tables["image_fraction"][part]
        )
        image_RW = read.reshape(rows, width, -1).mean(dim=-1)
        images[b, 0] = (image_RW.flip(0) * FULL_SCALE).round()
    return images


def _unit(decibels: Tensor) -> Tensor:
    return (decibels / DB_RANGE + 1).clamp(0.0, 1.0)


def _dominant(amplitude_RBT: Tensor, is_read_BT: Tensor, config: MelConfig) -> Tensor:
    """float32 [B, T], see `audio_planes.dominant_frequency`."""
    bin_BT = amplitude_RBT.argmax(dim=0).float().masked_fill(~is_read_BT, 0.0)
    if config.simple_scale == "nyquist":
        return bin_BT / (amplitude_RBT.shape[0] - 1)
    return bin_BT / bin_BT.amax(dim=1, keepdim=True).clamp(min=1.0)


def _stretched(values_BRN: Tensor, read_RBTW: Tensor, is_read_BT: Tensor) -> Tensor:
    """Each clip's values between the extremes of what it shows as 0..1 (`stretch_extremes`)."""
    is_hidden = ~is_read_BT[None, :, :, None]
    low, high = (
        fold(read_RBTW.masked_fill(is_hidden, float(sign) * torch.inf), dim=(0, 2, 3))
        for fold, sign in ((torch.amin, 1), (torch.amax, -1))
    )
    low, span = low[:, None, None], (high - low)[:, None, None]
    unit = (values_BRN - low) / span.clamp(min=1e-12)
    return torch.where(span > 0, unit, torch.zeros_like(unit))
