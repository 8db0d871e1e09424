"""Clip frames -> flow planes, with OpenCV's DIS or with Lucas-Kanade in torch.

DIS: Kroeger et al., "Fast Optical Flow using Dense Inverse Search", ECCV 2016; the ultrafast preset.
Its finest level is a quarter of the frame, and everything above only enlarges it. So it is given
quartered frames and goes to the end of those, what becomes of the field is computed on the small
one, and the planes are enlarged last, like pictures. On moving clips the magnitude correlates with
that of DIS on whole frames by more than 0.9 (tests/pipelines/test_flow.py).
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

import cv2
import numpy as np

from fmrgb_stream.channels import FLOW, FLOW_U, FULL_SCALE
from fmrgb_stream.pipelines.cpu.order import CpuFlowEstimator
from fmrgb_stream.pipelines.flow_planes import STILL_VALUES, quantise_flow_plane

if TYPE_CHECKING:
    from numpy.typing import NDArray

DIS_SHRINKS_BY: Final = 4
"""Frame pixels, across and down, to one that DIS sees: the finest level of the preset."""
MIN_DIS_SIDES: Final = (8, 24)
"""Pixels of the shorter and the longer side of a quartered frame; smaller ones are padded.

Below 8 and 23 OpenCV (5.0) leaves the pyramid it was told for one of its own choice, which reads
memory it never wrote: for some shapes the flow then depends on the pair before, for others the
process ends."""

_LUMA_256THS: Final = (77, 150, 29)
"""`LUMA_WEIGHTS` for what the estimator sees: as good for motion as exact ones, and half the memory
traffic, which is what a clip's luma costs."""


class FlowReader:
    """Estimates motion between clip frames. Belongs to one thread, whose DIS buffers it keeps."""

    def __init__(self, estimator: CpuFlowEstimator, *, size: tuple[int, int]) -> None:
        """Make the estimator for clip frames of this (height, width)."""
        if estimator == "lucas_kanade":
            # Here, so that decode processes are forked after it and share it.
            importlib.import_module("fmrgb_stream.pipelines.lucas_kanade")
        self._estimator: CpuFlowEstimator = estimator
        self._height, self._width = size
        self._dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
        self._dis.setFinestScale(0)

    @property
    def field_size(self) -> tuple[int, int]:
        """(h, w) of the fields: a quarter of the clip's size, rounded up, for `dis`, else all."""
        shrinks_by = DIS_SHRINKS_BY if self._estimator == "dis" else 1
        return -(-self._height // shrinks_by), -(-self._width // shrinks_by)

    def gray(self, rgb_3NHW: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """uint8 [N, h, w]: frames as the estimator sees them. Planes contiguous in N, H, W."""
        size = self.field_size
        if size == (self._height, self._width):
            return gray_frames(rgb_3NHW)
        num_frames = rgb_3NHW.shape[1]
        luma_NHW = _luma(rgb_3NHW)
        small_NHW = np.empty((num_frames, *size), np.uint16)
        if self._height % DIS_SHRINKS_BY or self._width % DIS_SHRINKS_BY:
            for frame_HW, small_HW in zip(luma_NHW, small_NHW, strict=True):
                cv2.resize(frame_HW, size[::-1], dst=small_HW, interpolation=cv2.INTER_AREA)
        else:
            # A mean of 2 x 2 pixels never reaches into the next frame; OpenCV does it in vectors,
            # which it does not for 4 x 4.
            tall_HW = luma_NHW.reshape(-1, self._width)
            for shrunk_by in (2, 4):
                rows, columns = num_frames * self._height // shrunk_by, self._width // shrunk_by
                tall_HW = _area_resized(tall_HW, (rows, columns))
            small_NHW = tall_HW.reshape(small_NHW.shape)
        # Rounded once: flat patches fit anywhere, and more noise sends them further astray.
        rounded = cv2.convertScaleAbs(small_NHW.reshape(-1, size[1]), alpha=1 / 256)
        return np.asarray(rounded, np.uint8).reshape(small_NHW.shape)

    def write_planes(
        self,
        gray_NHW: NDArray[np.uint8],
        moves: NDArray[np.bool_],
        targets_THW: Mapping[str, NDArray[np.generic]],
        *,
        max_pixels: float,
    ) -> None:
        """Write the flow planes by name: uint8 as `channels.py` defines them, else unquantised.

        Args:
            gray_NHW: from `gray`, the frame before the clip's first one and the clip's frames.
            moves: bool [T]; where it is False there is no motion.
            targets_THW: where the planes go.
            max_pixels: clip pixels that fill the range.
        """
        is_moving_T = moves & (gray_NHW[1:] != gray_NHW[:-1]).any(axis=(1, 2))
        pairs = np.flatnonzero(is_moving_T)
        flow_N2HW = self._fields(gray_NHW, pairs)
        u_scale, v_scale = self._scales()
        for name, target_THW in targets_THW.items():
            is_quantised = target_THW.dtype == np.uint8
            target_THW[~is_moving_T] = STILL_VALUES[name] if is_quantised else 0
            if name == FLOW:
                pixels_NHW, scale = _magnitudes(flow_N2HW, u_scale / v_scale), v_scale
            else:
                axis, scale = (0, u_scale) if name == FLOW_U else (1, v_scale)
                pixels_NHW = flow_N2HW[:, axis]
            for k, pixels_HW in zip(pairs.tolist(), pixels_NHW, strict=True):
                _write_enlarged(pixels_HW, name, target_THW[k], gain=scale / max_pixels)

    def _scales(self) -> tuple[float, float]:
        """Pixels of the clip to one of the field, across and down."""
        height, width = self.field_size
        return self._width / width, self._height / height

    def _fields(self, gray_NHW: NDArray[np.uint8], pairs: NDArray[np.intp]) -> NDArray[np.float32]:
        """float32 [len(pairs), 2, h, w] pixels of the field, from frame k to k + 1 of each pair."""
        height, width = self.field_size
        flow_N2HW = np.empty((len(pairs), 2, height, width), np.float32)
        if self._estimator == "lucas_kanade":
            for place, k in enumerate(pairs.tolist()):
                flow_N2HW[place] = _lucas_kanade(gray_NHW[k : k + 2])
            return flow_N2HW
        padded_NHW = _padded(gray_NHW)
        for place, k in enumerate(pairs.tolist()):
            # Into memory of its own: what lies in a given one, OpenCV takes for a first guess.
            flow_HW2 = self._dis.calc(padded_NHW[k], padded_NHW[k + 1], None)  # pyright: ignore[reportCallIssue, reportArgumentType]
            flow_N2HW[place] = flow_HW2[:height, :width].transpose(2, 0, 1)
        return flow_N2HW


def gray_frames(rgb_3NHW: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """uint8 [N, H, W]: 0.299 R + 0.587 G + 0.114 B, rounded (BT.601 luma on full-range RGB)."""
    num_frames, height, width = rgb_3NHW.shape[1:]
    planes = [plane.reshape(num_frames * height, width) for plane in rgb_3NHW]
    gray_HW = cv2.cvtColor(cv2.merge(planes), cv2.COLOR_RGB2GRAY)
    return np.asarray(gray_HW, np.uint8).reshape(num_frames, height, width)


def _luma(rgb_3NHW: NDArray[np.uint8]) -> NDArray[np.uint16]:
    """uint16 [N, H, W]: luma in 256ths, by `_LUMA_256THS`."""
    red, green, blue = (np.uint16(weight) for weight in _LUMA_256THS)
    luma_NHW = np.multiply(rgb_3NHW[0], red, dtype=np.uint16)
    luma_NHW += np.multiply(rgb_3NHW[1], green, dtype=np.uint16)
    luma_NHW += np.multiply(rgb_3NHW[2], blue, dtype=np.uint16)
    return luma_NHW


def _magnitudes(flow_N2HW: NDArray[np.float32], stretch: float) -> NDArray[np.float32]:
    """float32 [N, H, W] in units of v, of which a unit of u is `stretch`."""
    u_NHW, v_NHW = flow_N2HW[:, 0], flow_N2HW[:, 1]
    if stretch != 1:
        u_NHW = u_NHW * np.float32(stretch)
    # Not cv2.magnitude, whose last bit depends on where the arrays lie.
    return np.sqrt(u_NHW * u_NHW + v_NHW * v_NHW)


def _area_resized(picture_HW: NDArray[np.uint16], size: tuple[int, int]) -> NDArray[np.uint16]:
    return np.asarray(cv2.resize(picture_HW, size[::-1], interpolation=cv2.INTER_AREA), np.uint16)


def _padded(gray_NHW: NDArray[np.uint8]) -> NDArray[np.uint8]:
    height, width = gray_NHW.shape[1:]
    shorter, longer = MIN_DIS_SIDES
    least_height, least_width = (shorter, longer) if height <= width else (longer, shorter)
    missing = max(0, least_height - height), max(0, least_width - width)
    if not any(missing):
        return gray_NHW
    return np.pad(gray_NHW, ((0, 0), (0, missing[0]), (0, missing[1])), mode="edge")


def _lucas_kanade(gray_2HW: NDArray[np.uint8]) -> NDArray[np.float32]:
    # A worker that does not need torch does not load it.
    import torch

    from fmrgb_stream.pipelines.lucas_kanade import lucas_kanade_flow

    before, after = torch.from_numpy(gray_2HW)[:, None]  # pyright: ignore[reportUnknownMemberType]
    return lucas_kanade_flow(before, after)[0].numpy()


def _write_enlarged(
    pixels_HW: NDArray[np.float32], name: str, target_HW: NDArray[np.generic], *, gain: float
) -> None:
    height, width = target_HW.shape
    if pixels_HW.shape != target_HW.shape:
        enlarged = cv2.resize(pixels_HW, (width, height), interpolation=cv2.INTER_LINEAR)
        pixels_HW = np.asarray(enlarged, np.float32)
    if name == FLOW and target_HW.dtype == np.uint8:
        # round(min(255 m, 255)) in one pass.
        cv2.convertScaleAbs(pixels_HW, dst=target_HW, alpha=FULL_SCALE * gain)  # pyright: ignore[reportCallIssue, reportArgumentType]
        return
    values_HW = np.multiply(pixels_HW, gain, dtype=np.float32)
    is_quantised = target_HW.dtype == np.uint8
    target_HW[...] = quantise_flow_plane(values_HW, name) if is_quantised else values_HW
