"""Clip frames -> flow planes, with OpenCV's DIS or with Lucas-Kanade in torch.

DIS: Kroeger et al., "Fast Optical Flow using Dense Inverse Search", ECCV 2016; the ultrafast preset.
Its finest level is a quarter of the frame, and everything above only enlarges it. So it is given
halved frames and ends at half of those, what becomes of the field is computed on the small one, and
the planes are enlarged last, like pictures. On moving clips the magnitude correlates with that of
DIS on whole frames by more than 0.9 (tests/pipelines/test_flow.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

import cv2
import numpy as np

from fmrgb_stream.channels import FLOW, FLOW_U, FULL_SCALE
from fmrgb_stream.pipelines.cpu.order import CpuFlowEstimator
from fmrgb_stream.pipelines.flow_planes import STILL_VALUES, quantise_flow_plane

if TYPE_CHECKING:
    from numpy.typing import NDArray

FINEST_SCALE: Final = 1
"""DIS stops at 1/2 of the halved frame, where the preset stops at 1/4 of the whole one."""
MIN_DIS_SIDES: Final = (16, 48)
"""Pixels of the shorter and the longer side of a halved frame; smaller ones are padded.

Below 16 and 46 OpenCV (5.0) leaves the pyramid it was told for one of its own choice, which reads
memory it never wrote: for some shapes the flow then depends on the pair before, for others the
process ends."""


class FlowReader:
    """Estimates motion between clip frames. Belongs to one thread, whose DIS buffers it keeps."""

    def __init__(self, estimator: CpuFlowEstimator, *, size: tuple[int, int]) -> None:
        """Make the estimator for clip frames of this (height, width)."""
        self._estimator: CpuFlowEstimator = estimator
        self._height, self._width = size
        self._dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
        self._dis.setFinestScale(FINEST_SCALE)

    @property
    def field_size(self) -> tuple[int, int]:
        """(h, w) of the fields: half the clip's size, rounded up, for `dis`, else all of it."""
        if self._estimator == "dis":
            return (self._height + 1) // 2, (self._width + 1) // 2
        return self._height, self._width

    def gray(self, rgb_3NHW: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """uint8 [N, h, w]: frames as the estimator sees them. Planes contiguous in N, H, W."""
        height, width = self.field_size
        if (height, width) == (self._height, self._width):
            return gray_frames(rgb_3NHW)
        num_frames = rgb_3NHW.shape[1]
        if self._height % 2 == 0 and self._width % 2 == 0:
            # The mean of 2 x 2 pixels never reaches into the next frame.
            stacked = [plane.reshape(num_frames * self._height, self._width) for plane in rgb_3NHW]
            halved = [_area_resized(x, (num_frames * height, width)) for x in stacked]
            return gray_frames(np.stack(halved).reshape(3, num_frames, height, width))
        frames = [[_area_resized(x, (height, width)) for x in plane] for plane in rgb_3NHW]
        return gray_frames(np.array(frames))

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
        moving = self._moving(gray_NHW, moves)
        for name, target_THW in targets_THW.items():
            is_quantised = target_THW.dtype == np.uint8
            target_THW[~moving] = STILL_VALUES[name] if is_quantised else 0
        u_scale, v_scale = self._scales()
        # One pair after the other, so that its field is still in the core's cache.
        for k in np.flatnonzero(moving).tolist():
            u_HW, v_HW = self._field(gray_NHW, k)
            for name, target_THW in targets_THW.items():
                if name == FLOW:
                    stretched_HW = u_HW if u_scale == v_scale else u_HW * (u_scale / v_scale)
                    # Not cv2.magnitude, whose last bit depends on where the arrays lie.
                    pixels_HW = np.sqrt(stretched_HW * stretched_HW + v_HW * v_HW)
                    scale = v_scale
                else:
                    pixels_HW, scale = (u_HW, u_scale) if name == FLOW_U else (v_HW, v_scale)
                _write_enlarged(pixels_HW, name, target_THW[k], gain=scale / max_pixels)

    def flow(self, gray_NHW: NDArray[np.uint8], moves: NDArray[np.bool_]) -> NDArray[np.float32]:
        """float32 [T, 2, h, w] pixels of the clip: motion from frame k to frame k + 1.

        Positive is rightward (0) and downward (1). Zero where `moves` (bool [T]) is False and
        between identical frames.
        """
        flow_T2HW = np.zeros((len(moves), 2, *self.field_size), np.float32)
        for k in np.flatnonzero(self._moving(gray_NHW, moves)).tolist():
            for place, (pixels_HW, scale) in enumerate(
                zip(self._field(gray_NHW, k), self._scales(), strict=True)
            ):
                flow_T2HW[k, place] = pixels_HW * scale
        return flow_T2HW

    def _scales(self) -> tuple[float, float]:
        """Pixels of the clip to one of the field, across and down."""
        height, width = self.field_size
        return self._width / width, self._height / height

    def _moving(self, gray_NHW: NDArray[np.uint8], moves: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Bool [T]: where motion can be told and is not none."""
        pairs = zip(moves.tolist(), gray_NHW[:-1], gray_NHW[1:], strict=True)
        return np.array([can and not np.array_equal(a, b) for can, a, b in pairs])

    def _field(self, gray_NHW: NDArray[np.uint8], k: int) -> Sequence[NDArray[np.float32]]:
        """(u, v), each float32 [h, w] pixels of the field, from frame k to frame k + 1."""
        if self._estimator == "lucas_kanade":
            return _lucas_kanade(gray_NHW[k : k + 2])
        height, width = self.field_size
        before_HW, after_HW = _padded(gray_NHW[k : k + 2])
        flow_HW2 = self._dis.calc(before_HW, after_HW, None)  # pyright: ignore[reportCallIssue, reportArgumentType]
        u_HW, v_HW = cv2.split(flow_HW2[:height, :width])
        return np.asarray(u_HW, np.float32), np.asarray(v_HW, np.float32)


def gray_frames(rgb_3NHW: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """uint8 [N, H, W]: 0.299 R + 0.587 G + 0.114 B, rounded (BT.601 luma on full-range RGB)."""
    num_frames, height, width = rgb_3NHW.shape[1:]
    red, green, blue = (plane.reshape(num_frames * height, width) for plane in rgb_3NHW)
    gray_RW = np.asarray(cv2.cvtColor(cv2.merge([red, green, blue]), cv2.COLOR_RGB2GRAY), np.uint8)
    return gray_RW.reshape(num_frames, height, width)


def _area_resized(picture_HW: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    return np.asarray(cv2.resize(picture_HW, size[::-1], interpolation=cv2.INTER_AREA), np.uint8)


def _padded(gray_NHW: NDArray[np.uint8]) -> NDArray[np.uint8]:
    height, width = gray_NHW.shape[1:]
    shorter, longer = MIN_DIS_SIDES
    least_height, least_width = (shorter, longer) if height <= width else (longer, shorter)
    missing = max(0, least_height - height), max(0, least_width - width)
    if not any(missing):
        return gray_NHW
    return np.pad(gray_NHW, ((0, 0), (0, missing[0]), (0, missing[1])), mode="edge")


def _lucas_kanade(gray_2HW: NDArray[np.uint8]) -> Sequence[NDArray[np.float32]]:
    # A worker that does not need torch does not load it.
    import torch

    from fmrgb_stream.pipelines.lucas_kanade import lucas_kanade_flow

    before, after = torch.from_numpy(gray_2HW)[:, None]  # pyright: ignore[reportUnknownMemberType]
    u_HW, v_HW = lucas_kanade_flow(before, after)[0].numpy()
    return u_HW, v_HW


def _write_enlarged(
    pixels_HW: cv2.typing.MatLike, name: str, target_HW: NDArray[np.generic], *, gain: float
) -> None:
    height, width = target_HW.shape
    if pixels_HW.shape != target_HW.shape:
        pixels_HW = cv2.resize(pixels_HW, (width, height), interpolation=cv2.INTER_LINEAR)
    if name == FLOW and target_HW.dtype == np.uint8:
        # round(min(255 m, 255)) in one pass.
        cv2.convertScaleAbs(pixels_HW, dst=target_HW, alpha=FULL_SCALE * gain)  # pyright: ignore[reportCallIssue, reportArgumentType]
        return
    values_HW = np.multiply(pixels_HW, gain, dtype=np.float32)
    is_quantised = target_HW.dtype == np.uint8
    target_HW[...] = quantise_flow_plane(values_HW, name) if is_quantised else values_HW
