"""One planned clip -> its planes, written straight into its place of the batch.

Shape legend: C planes, T clip frames, N different frames, H height, W width, M mel bands, S samples.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fmrgb_stream.channels import (
    FLOW_PLANES,
    FULL_SCALE,
    GRAY,
    LUMA_WEIGHTS,
    MEL,
    RGB_PLANES,
    needs_picture,
)
from fmrgb_stream.config import ClipConfig, VideoDecoder
from fmrgb_stream.pipelines.cpu.counters import Counters
from fmrgb_stream.pipelines.cpu.flow import CpuFlowEstimator, FlowReader, gray_frames
from fmrgb_stream.pipelines.cpu.mel import (
    WaveformSpan,
    audio_plane,
    clip_features,
    clip_mel_image,
    clip_waveform,
)
from fmrgb_stream.pipelines.cpu.sound import SoundReader
from fmrgb_stream.pipelines.cpu.video import VideoReader
from fmrgb_stream.pipelines.flow_planes import flow_plane, quantise_flow_plane
from fmrgb_stream.sample import ClipPlan, PlannedClip

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipExtras:
    """What was asked for beside the planes; None where it was not."""

    mel_image: NDArray[np.uint8] | None = None
    """uint8 [M, W]."""
    waveform: NDArray[np.float32] | None = None
    """float32 [S]."""
    audio_features: NDArray[np.float32] | None = None
    """float32 [26]."""


class ClipMaker:
    """Makes clips one at a time. Belongs to one thread, whose decoders it keeps."""

    def __init__(
        self,
        clip: ClipConfig,
        *,
        estimator: CpuFlowEstimator,
        video_decoder: VideoDecoder,
        span: WaveformSpan,
        counters: Counters,
    ) -> None:
        """Remember the settings and make the estimators."""
        self._clip = clip
        self._span = span
        self._counters = counters
        self._video = VideoReader(video_decoder, size=clip.size)
        self._flow = FlowReader(estimator)

    def make(self, planned: PlannedClip, planes_CTHW: NDArray[np.generic]) -> ClipExtras:
        """Write every value of the clip into `planes_CTHW`; the extras are returned.

        Raises:
            SampleError: the sample cannot be decoded.
        """
        if needs_picture(self._clip.planes):
            self._write_picture_planes(planned, planes_CTHW)
        extras = ClipExtras()
        if self._clip.needs_audio:
            with self._counters.timed("audio"), SoundReader(planned.sample) as sound:
                if MEL in self._clip.planes:
                    target_THW = planes_CTHW[self._clip.planes.index(MEL)]
                    _write_unit(audio_plane(sound, planned, self._clip), target_THW)
                extras = self._extras(sound, planned)
        planes_CTHW[:, planned.plan.frame_indices < 0] = 0
        return extras

    def _write_picture_planes(self, planned: PlannedClip, planes_CTHW: NDArray[np.generic]) -> None:
        names = self._clip.planes
        moves = _moves(planned.plan) if self._clip.needs_flow else None
        with self._counters.timed("decode"):
            rgb_3NHW = self._shown_frames(planned, with_lead=moves is not None and bool(moves[0]))
        for name, rgb_NHW in zip(RGB_PLANES, rgb_3NHW, strict=True):
            if name in names:
                _write_bytes(rgb_NHW[1:], planes_CTHW[names.index(name)])
        if GRAY in names:
            _write_gray(rgb_3NHW[:, 1:], planes_CTHW[names.index(GRAY)])
        if moves is not None:
            with self._counters.timed("flow"):
                flow_T2HW = self._flow.flow(gray_frames(rgb_3NHW), moves)
                self._write_flow_planes(flow_T2HW, planes_CTHW)

    def _shown_frames(self, planned: PlannedClip, *, with_lead: bool) -> NDArray[np.uint8]:
        """uint8 [3, 1 + T, H, W]: the lead frame, then the clip's; 0 where there is none.

        Blends are rounded to 8 bits, like the frames they are made of.
        """
        plan = planned.plan
        indices = np.concatenate([[plan.lead_index if with_lead else -1], plan.frame_indices])
        seconds = np.concatenate([[-1], plan.blend_indices])
        weights = np.concatenate([[0.0], plan.blend_weights])
        blends = (weights > 0) & (seconds != indices) & (indices >= 0)
        if not planned.sample.info.has_video or not (indices >= 0).any():
            return np.zeros((3, len(indices), *self._clip.size), np.uint8)
        wanted = np.unique(np.concatenate([indices[indices >= 0], seconds[blends]]))
        pictures_3NHW = self._video.pictures(planned.sample, wanted.tolist())
        shown_3NHW = pictures_3NHW.take(np.searchsorted(wanted, indices), axis=1, mode="clip")
        shown_3NHW[:, indices < 0] = 0
        for k in np.flatnonzero(blends):
            second_3HW = pictures_3NHW[:, np.searchsorted(wanted, seconds[k])]
            mixed_3HW = (1 - weights[k]) * shown_3NHW[:, k] + weights[k] * second_3HW
            shown_3NHW[:, k] = np.rint(mixed_3HW)
        return shown_3NHW

    def _write_flow_planes(
        self, flow_T2HW: NDArray[np.float32], planes_CTHW: NDArray[np.generic]
    ) -> None:
        for place, name in enumerate(self._clip.planes):
            if name in FLOW_PLANES:
                values = flow_plane(flow_T2HW, name, max_pixels=self._clip.flow.max_pixels)
                is_quantised = planes_CTHW.dtype == np.uint8
                planes_CTHW[place] = quantise_flow_plane(values, name) if is_quantised else values

    def _extras(self, sound: SoundReader, planned: PlannedClip) -> ClipExtras:
        wanted = self._clip.extras
        image = clip_mel_image(sound, planned, self._clip) if "mel_image" in wanted else None
        if "waveform" not in wanted and "audio_features" not in wanted:
            return ClipExtras(mel_image=image)
        waveform = clip_waveform(sound, planned, self._span)
        return ClipExtras(
            mel_image=image,
            waveform=waveform if "waveform" in wanted else None,
            audio_features=(
                clip_features(waveform, self._span) if "audio_features" in wanted else None
            ),
        )


def _moves(plan: ClipPlan) -> NDArray[np.bool_]:
    """Whether motion from the frame before can be told, bool [T]."""
    before = np.concatenate([[plan.lead_index], plan.frame_indices[:-1]])
    return plan.has_flow & (plan.frame_indices >= 0) & (before >= 0)


def _write_unit(values_THW: NDArray[np.float32] | None, target_THW: NDArray[np.generic]) -> None:
    if values_THW is None:
        target_THW[...] = 0
    elif target_THW.dtype == np.uint8:
        np.rint(values_THW * np.float32(FULL_SCALE), out=target_THW, casting="unsafe")
    else:
        target_THW[...] = values_THW


def _write_bytes(values_THW: NDArray[np.uint8], target_THW: NDArray[np.generic]) -> None:
    if target_THW.dtype == np.uint8:
        target_THW[...] = values_THW
    else:
        target_THW[...] = values_THW.astype(np.float32) / np.float32(FULL_SCALE)


def _write_gray(rgb_3THW: NDArray[np.uint8], target_THW: NDArray[np.generic]) -> None:
    if target_THW.dtype == np.uint8:
        target_THW[...] = gray_frames(np.ascontiguousarray(rgb_3THW))
    else:
        red, green, blue = (np.float32(weight / FULL_SCALE) for weight in LUMA_WEIGHTS)
        target_THW[...] = red * rgb_3THW[0] + green * rgb_3THW[1] + blue * rgb_3THW[2]
