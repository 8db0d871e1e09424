"""Grey clip frames -> flow fields, with OpenCV's DIS or with Lucas-Kanade in torch.

DIS: Kroeger et al., "Fast Optical Flow using Dense Inverse Search", ECCV 2016; the ultrafast preset.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

import cv2
import numpy as np
import torch

from fmrgb_stream.config import FlowConfig
from fmrgb_stream.errors import ConfigError
from fmrgb_stream.pipelines.lucas_kanade import lucas_kanade_flow

if TYPE_CHECKING:
    from numpy.typing import NDArray

CpuFlowEstimator = Literal["dis", "lucas_kanade"]
MIN_DIS_SIDES: Final = (32, 96)
"""Pixels of the shorter and the longer side; smaller frames are padded.

Below 32 and 91 OpenCV (5.0) leaves the preset's pyramid for one of its own choice, which reads
memory it never wrote: for some shapes (48x80) the flow then depends on the pair before, for others
(8x112) the process ends."""


def choose_estimator(config: FlowConfig) -> CpuFlowEstimator:
    """The estimator the CPU pipeline uses for this setting.

    Raises:
        ConfigError: the estimator needs another pipeline.
    """
    match config.estimator:
        case "auto" | "dis":
            return "dis"
        case "lucas_kanade":
            return "lucas_kanade"
        case "nvof" | "member":
            raise ConfigError(
                f"flow.estimator={config.estimator!r} does not run on the CPU pipeline; "
                "use 'auto', 'dis' or 'lucas_kanade', or the GPU pipeline"
            )


class FlowReader:
    """Estimates motion between clip frames. Belongs to one thread, whose DIS buffers it keeps."""

    def __init__(self, estimator: CpuFlowEstimator) -> None:
        """Make the estimator."""
        self._estimator: CpuFlowEstimator = estimator
        self._dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)

    def flow(self, gray_NHW: NDArray[np.uint8], moves: NDArray[np.bool_]) -> NDArray[np.float32]:
        """float32 [T, 2, H, W] pixels: motion from frame k to k + 1 of T + 1 grey frames.

        Positive is rightward (plane 0) and downward (plane 1). Zero where `moves` (bool [T]) is
        False and between identical frames.
        """
        num_pairs, (height, width) = len(moves), gray_NHW.shape[1:]
        flow_T2HW = np.zeros((num_pairs, 2, height, width), np.float32)
        pairs = [
            k
            for k in range(num_pairs)
            if moves[k] and not np.array_equal(gray_NHW[k], gray_NHW[k + 1])
        ]
        if not pairs:
            return flow_T2HW
        if self._estimator == "lucas_kanade":
            frames = torch.from_numpy(gray_NHW)  # pyright: ignore[reportUnknownMemberType]
            before = torch.tensor(pairs)
            flow_T2HW[pairs] = lucas_kanade_flow(frames[before], frames[before + 1]).numpy()
            return flow_T2HW
        padded_NHW = _padded(gray_NHW)
        for k in pairs:
            flow_HW2 = self._dis.calc(padded_NHW[k], padded_NHW[k + 1], None)  # pyright: ignore[reportCallIssue, reportArgumentType]
            flow_T2HW[k] = flow_HW2[:height, :width].transpose(2, 0, 1)
        return flow_T2HW


def gray_frames(rgb_3NHW: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """uint8 [N, H, W]: 0.299 R + 0.587 G + 0.114 B, rounded (BT.601 luma on full-range RGB)."""
    num_frames, height, width = rgb_3NHW.shape[1:]
    stacked_3RW = rgb_3NHW.reshape(3, num_frames * height, width)
    rgb_RW3 = cv2.merge([stacked_3RW[0], stacked_3RW[1], stacked_3RW[2]])
    gray_RW = np.asarray(cv2.cvtColor(rgb_RW3, cv2.COLOR_RGB2GRAY), np.uint8)
    return gray_RW.reshape(num_frames, height, width)


def _padded(gray_NHW: NDArray[np.uint8]) -> NDArray[np.uint8]:
    height, width = gray_NHW.shape[1:]
    shorter, longer = MIN_DIS_SIDES
    least_height, least_width = (shorter, longer) if height <= width else (longer, shorter)
    missing = max(0, least_height - height), max(0, least_width - width)
    if not any(missing):
        return gray_NHW
    return np.pad(gray_NHW, ((0, 0), (0, missing[0]), (0, missing[1])), mode="edge")
