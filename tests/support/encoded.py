"""Encoded samples in memory, made of generated frames and sound, and a source that serves them."""

from __future__ import annotations

import io
from dataclasses import dataclass, replace
from fractions import Fraction

import av
import numpy as np
import soundfile
from av.video.reformatter import ColorRange, Colorspace

from fmrgb_stream.clips.sampling import plan_clip
from fmrgb_stream.sample import (
    ClipPlan,
    ClipTask,
    EncodedSample,
    PacketTable,
    PlannedClip,
    SampleInfo,
)

AUDIO_RATE = 16000
_COLORSPACES = {"bt601": Colorspace.ITU601, "bt709": Colorspace.ITU709}
_RANGES = {"limited": ColorRange.MPEG, "full": ColorRange.JPEG}


@dataclass(frozen=True, kw_only=True)
class VideoOptions:
    """How the frames are encoded; the defaults are those of packed proxies, at high quality."""

    codec: str = "libx264"
    container: str = "mp4"
    gop: int = 16
    b_frames: int = 0
    crf: int = 1
    x264_params: str = ""
    color_matrix: str = "bt601"
    color_range: str = "limited"
    pix_fmt: str = "yuv420p"


def encode_video(frames_FHWC, *, fps: float = 30.0, options: VideoOptions | None = None) -> bytes:
    """A video file of uint8 [F, H, W, 3] RGB frames."""
    options = options or VideoOptions()
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=options.container) as output:
        codec_options = {"g": str(options.gop), "bf": str(options.b_frames)}
        if options.codec == "libx264":
            codec_options |= {
                "crf": str(options.crf),
                "preset": "ultrafast" if options.b_frames == 0 else "veryfast",
                "sc_threshold": "0",
            }
            if options.x264_params:
                codec_options["x264-params"] = options.x264_params
        if options.codec == "libx265":
            codec_options |= {"x265-params": "log-level=none:open-gop=0:scenecut=0"}
        stream = output.add_stream(
            options.codec, rate=Fraction(fps).limit_denominator(1001), options=codec_options
        )
        stream.height, stream.width = frames_FHWC.shape[1:3]
        stream.pix_fmt = options.pix_fmt
        if options.codec not in ("libx264", "libvpx-vp9"):
            stream.bit_rate = 4_000_000
        stream.codec_context.thread_count = 1
        for frame_HWC in frames_FHWC:
            rgb = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame_HWC), format="rgb24")
            yuv = rgb.reformat(
                format=options.pix_fmt,
                src_color_range=ColorRange.JPEG,
                dst_colorspace=_COLORSPACES[options.color_matrix],
                dst_color_range=_RANGES[options.color_range],
                interpolation="AREA",
                threads=1,
            )
            output.mux(stream.encode(yuv))
        output.mux(stream.encode(None))
    return buffer.getvalue()


def encode_flac(waveform_S, *, rate: int = AUDIO_RATE) -> bytes:
    """A mono 16-bit FLAC file."""
    buffer = io.BytesIO()
    soundfile.write(buffer, waveform_S, rate, format="FLAC", subtype="PCM_16")
    return buffer.getvalue()


def packet_table(video: bytes) -> tuple[PacketTable, bytes]:
    """Where the packets of a video file lie, and its decoder configuration."""
    with av.open(io.BytesIO(video)) as container:
        stream = container.streams.video[0]
        packets = [packet for packet in container.demux(stream) if packet.size]
        extradata = stream.codec_context.extradata or b""
    return PacketTable(
        offsets=np.array([p.pos for p in packets], np.int64),
        sizes=np.array([p.size for p in packets], np.int64),
        is_key=np.array([p.is_keyframe for p in packets]),
        pts=np.array([p.pts for p in packets], np.int64),
    ), extradata


def encoded_sample(
    frames_FHWC=None,
    waveform_S=None,
    *,
    sample_id: int = 0,
    fps: float = 30.0,
    num_frames: int | None = None,
    rate: int = AUDIO_RATE,
    options: VideoOptions | None = None,
    with_packets: bool = True,
    **changes,
) -> EncodedSample:
    """A sample as a shard would hold it; `changes` go to its info."""
    options = options or VideoOptions()
    video = None if frames_FHWC is None else encode_video(frames_FHWC, fps=fps, options=options)
    audio = None if waveform_S is None else encode_flac(waveform_S, rate=rate)
    if num_frames is None:
        num_frames = (
            len(frames_FHWC) if frames_FHWC is not None else round(len(waveform_S) / rate * fps)
        )
    packets, extradata = (None, b"")
    if video is not None and options.container == "mp4" and with_packets:
        packets, extradata = packet_table(video)
    codec = {"libx264": "h264", "libx265": "hevc", "libvpx-vp9": "vp9"}.get(
        options.codec, options.codec
    )
    info = SampleInfo(
        key=f"sample-{sample_id}",
        group=f"group-{sample_id}",
        label=sample_id % 3,
        targets=None,
        has_video=video is not None,
        has_audio=audio is not None,
        fps=fps,
        num_frames=num_frames,
        duration_seconds=num_frames / fps,
        width=0 if video is None else frames_FHWC.shape[2],
        height=0 if video is None else frames_FHWC.shape[1],
        codec=codec if video is not None else "",
        color_matrix=options.color_matrix,
        color_range=options.color_range,
        rotation_degrees=0,
        audio_sample_rate=0 if audio is None else rate,
        num_audio_samples=0 if audio is None else len(waveform_S),
        extradata=extradata,
        frame_times_seconds=None,
        packets=packets,
        members=(),
    )
    return EncodedSample(
        sample_id=sample_id,
        shard_url="memory/shard-000000.tar",
        info=replace(info, **changes),
        video=None if video is None else memoryview(video),
        audio=None if audio is None else memoryview(audio),
    )


def clip_plan(frame_indices, *, fps: float = 30.0, lead: int = -1, times=None) -> ClipPlan:
    """A plan of these frames without blends; -1 is padding."""
    indices = np.array(frame_indices, np.int64)
    before = np.concatenate([[lead], indices[:-1]])
    return ClipPlan(
        frame_indices=indices,
        blend_indices=indices,
        blend_weights=np.zeros(len(indices)),
        lead_index=lead,
        has_flow=(before >= 0) & (indices >= 0),
        times_seconds=np.maximum(indices, 0) / fps if times is None else np.asarray(times, float),
        num_valid_frames=int((indices >= 0).sum()),
    )


def clip_task(sample_id: int = 0, *, window_index: int = 0, epoch: int = 0) -> ClipTask:
    """A task that is not padding."""
    return ClipTask(sample_id=sample_id, window_index=window_index, epoch=epoch, is_padding=False)


def planned_clip(sample: EncodedSample, frame_indices, *, lead: int = -1) -> PlannedClip:
    """These frames of a sample."""
    plan = clip_plan(frame_indices, fps=sample.info.fps, lead=lead)
    return PlannedClip(task=clip_task(sample.sample_id), sample=sample, plan=plan)


class ListSource:
    """A `ClipSource` over samples in memory; `broken` maps sample ids to the error they raise."""

    def __init__(self, samples, clip, *, broken=None) -> None:
        self.samples = list(samples)
        self.clip = clip
        self.broken = broken or {}

    def fetch(self, task: ClipTask) -> PlannedClip:
        if task.sample_id in self.broken:
            raise self.broken[task.sample_id]
        sample = self.samples[task.sample_id]
        # Spreads the starts of the `random` window, the same way in every run.
        uniform = (task.sample_id * 0.37 + task.epoch * 0.21) % 1.0
        plan = plan_clip(sample.info, self.clip, uniform=uniform, window_index=task.window_index)
        return PlannedClip(task=task, sample=sample, plan=plan)

    def neighbour(self, task: ClipTask, attempt: int) -> ClipTask:
        return replace(task, sample_id=(task.sample_id + attempt) % len(self.samples))

    def describe(self, task: ClipTask) -> tuple[str, str]:
        sample = self.samples[task.sample_id]
        return sample.shard_url, sample.info.key
