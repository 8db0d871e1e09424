"""One planned clip -> its planes, written straight into its place of the batch.

Shape legend: C planes, T clip frames, N different frames, H height, W width, M mel bands, S samples.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from fmrgb_stream.channels import (
    FLOW,
    FLOW_PLANES,
    FULL_SCALE,
    GRAY,
    LUMA_WEIGHTS,
    MEL,
    PICTURE_PLANES,
    RGB_PLANES,
    needs_picture,
)
from fmrgb_stream.config import ClipConfig, VideoDecoder
from fmrgb_stream.errors import ConfigError
from fmrgb_stream.pipelines.counters import StageClock
from fmrgb_stream.pipelines.cpu.flac import FlacDecoder
from fmrgb_stream.pipelines.cpu.flow import FlowReader, gray_frames
from fmrgb_stream.pipelines.cpu.gray_video import GrayVideoReader
from fmrgb_stream.pipelines.cpu.layout import ClipArrays
from fmrgb_stream.pipelines.cpu.mel import (
    clip_features,
    clip_mel_image,
    clip_waveform,
    load_libraries,
    write_audio_plane,
)
from fmrgb_stream.pipelines.cpu.order import CpuFlowEstimator, WaveformSpan
from fmrgb_stream.pipelines.cpu.shown import shown_frames
from fmrgb_stream.pipelines.cpu.sound import SoundReader
from fmrgb_stream.pipelines.cpu.video import VideoReader
from fmrgb_stream.sample import ClipPlan, PlannedClip

if TYPE_CHECKING:
    from numpy.typing import NDArray


class ClipMaker:
    """Makes clips one at a time. Belongs to one thread, whose decoders it keeps."""

    def __init__(
        self,
        clip: ClipConfig,
        *,
        estimator: CpuFlowEstimator,
        video_decoder: VideoDecoder,
        span: WaveformSpan,
        clock: StageClock,
    ) -> None:
        """Make the estimators, and load the libraries that the settings need."""
        load_libraries(clip)
        self._clip = clip
        self._span = span
        self._clock = clock
        self._video = VideoReader(video_decoder, size=clip.size)
        self._flow = FlowReader(estimator, size=clip.size)
        self._reads_flow = clip.needs_flow and estimator == "member"
        self._estimates_flow = clip.needs_flow and not self._reads_flow
        self._packed_flow = GrayVideoReader(size=clip.size)
        self._flac = FlacDecoder()
        self._lead_3HW = np.empty((3, *clip.size), np.uint8)
        self._gray_NHW = np.empty((1 + clip.num_frames, *self._flow.field_size), np.uint8)
        self._takes_frames_as_they_come = (
            clip.planes[:3] == RGB_PLANES and GRAY not in clip.planes and clip.dtype == "uint8"
        )

    def make(self, planned: PlannedClip, arrays: ClipArrays) -> None:
        """Write every value of the clip's planes and extras.

        Raises:
            SampleError: the sample cannot be decoded.
        """
        planes_CTHW, plan = arrays.planes_CTHW, planned.plan
        if needs_picture(self._clip.planes):
            self._write_picture_planes(planned, planes_CTHW)
        if self._clip.needs_audio:
            with self._clock.timed("audio"), SoundReader(planned.sample, self._flac) as sound:
                if MEL in self._clip.planes:
                    target_THW = planes_CTHW[self._clip.planes.index(MEL)]
                    write_audio_plane(sound, planned, self._clip, target_THW)
                self._write_extras(sound, planned, arrays)
        if plan.frame_indices.min() < 0:
            planes_CTHW[:, plan.frame_indices < 0] = 0

    def _write_picture_planes(self, planned: PlannedClip, planes_CTHW: NDArray[np.generic]) -> None:
        if self._reads_flow:
            with self._clock.timed("flow"):
                self._write_packed_flow(planned, planes_CTHW[self._clip.planes.index(FLOW)])
            if not set(PICTURE_PLANES) & set(self._clip.planes):
                return
        moves = _moves(planned.plan) if self._estimates_flow else None
        has_lead = moves is not None and bool(moves[0])
        with self._clock.timed("decode"):
            if self._takes_frames_as_they_come and _is_plain(planned):
                self._decode_in_place(planned, planes_CTHW, with_lead=has_lead)
            else:
                self._decode_and_copy(planned, planes_CTHW, with_lead=has_lead)
        if moves is not None:
            flow_targets_THW = {
                name: planes_CTHW[place]
                for place, name in enumerate(self._clip.planes)
                if name in FLOW_PLANES
            }
            with self._clock.timed("flow"):
                max_pixels = self._clip.flow.max_pixels
                self._flow.write_planes(
                    self._gray_NHW, moves, flow_targets_THW, max_pixels=max_pixels
                )

    def _decode_in_place(
        self, planned: PlannedClip, planes_CTHW: NDArray[np.generic], *, with_lead: bool
    ) -> None:
        """Each frame is resized into its place of the batch; only its grey copy is made for flow."""
        rgb_3THW: NDArray[np.uint8] = planes_CTHW[:3]  # pyright: ignore[reportAssignmentType]
        indices = planned.plan.frame_indices.tolist()
        targets = list(rgb_3THW.transpose(1, 0, 2, 3))
        if with_lead:
            indices.append(planned.plan.lead_index)
            targets.append(self._lead_3HW)
        self._video.read(planned.sample, indices, targets)
        if self._estimates_flow:
            self._gray_NHW[1:] = self._flow.gray(rgb_3THW)
            if with_lead:
                self._gray_NHW[:1] = self._flow.gray(self._lead_3HW[:, None])

    def _decode_and_copy(
        self, planned: PlannedClip, planes_CTHW: NDArray[np.generic], *, with_lead: bool
    ) -> None:
        """Frames that are shown twice, blended, padded or in another dtype pass through a copy."""
        names = self._clip.planes
        rgb_3NHW = self._shown_frames(planned, with_lead=with_lead)
        for name, rgb_NHW in zip(RGB_PLANES, rgb_3NHW, strict=True):
            if name in names:
                _write_bytes(rgb_NHW[1:], planes_CTHW[names.index(name)])
        if GRAY in names:
            _write_gray(rgb_3NHW[:, 1:], planes_CTHW[names.index(GRAY)])
        if self._estimates_flow:
            self._gray_NHW[...] = self._flow.gray(rgb_3NHW)

    def _shown_frames(self, planned: PlannedClip, *, with_lead: bool) -> NDArray[np.uint8]:
        """uint8 [3, 1 + T, H, W]: the lead frame, then the clip's; 0 where there is none."""
        plan = planned.plan
        indices = np.concatenate([[plan.lead_index if with_lead else -1], plan.frame_indices])
        seconds = np.concatenate([[-1], plan.blend_indices])
        weights = np.concatenate([[0.0], plan.blend_weights])
        if not planned.sample.info.has_video or not (indices >= 0).any():
            return np.zeros((3, len(indices), *self._clip.size), np.uint8)
        return shown_frames(
            indices, seconds, weights, partial(self._video.pictures, planned.sample)
        )

    def _write_packed_flow(self, planned: PlannedClip, target_THW: NDArray[np.generic]) -> None:
        sample, plan = planned.sample, planned.plan
        if not sample.info.has_video or not (plan.frame_indices >= 0).any():
            target_THW[...] = 0
            return
        if sample.flow is None:
            raise ConfigError(
                f"flow.estimator='member' and sample {sample.info.key!r} of {sample.shard_url} has "
                "no flow video; pack it with --flow-video, or use 'auto'"
            )
        read = partial(self._packed_flow.planes, sample, sample.flow)
        shown_THW = shown_frames(plan.frame_indices, plan.blend_indices, plan.blend_weights, read)
        _write_bytes(shown_THW, target_THW)

    def _write_extras(self, sound: SoundReader, planned: PlannedClip, arrays: ClipArrays) -> None:
        if arrays.mel_image_MW is not None:
            arrays.mel_image_MW[...] = clip_mel_image(sound, planned, self._clip)
        if arrays.waveform_S is None and arrays.audio_features_F is None:
            return
        waveform_S = clip_waveform(sound, planned, self._span)
        if arrays.waveform_S is not None:
            arrays.waveform_S[...] = waveform_S
        if arrays.audio_features_F is not None:
            arrays.audio_features_F[...] = clip_features(waveform_S, self._span)


def _is_plain(planned: PlannedClip) -> bool:
    """Whether every frame of the clip is one frame of the video, and no other frame of the clip."""
    plan = planned.plan
    indices = plan.frame_indices
    is_rising = bool((indices[1:] > indices[:-1]).all()) and int(indices[0]) >= 0
    return planned.sample.info.has_video and is_rising and not plan.blend_weights.any()


def _moves(plan: ClipPlan) -> NDArray[np.bool_]:
    """Whether motion from the frame before can be told, bool [T]."""
    before = np.concatenate([[plan.lead_index], plan.frame_indices[:-1]])
    return plan.has_flow & (plan.frame_indices >= 0) & (before >= 0)


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
