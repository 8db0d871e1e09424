"""A media file, as path or bytes -> MediaProbe: its streams, and when each frame is shown.

Frame times come from packets, without decoding; only the first picture and the first sound are
decoded, to learn rotation and colour and to prove that the codecs work.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

import numpy as np
from av.error import FFmpegError

from fmrgb_stream.clips.containers import why_not_media
from fmrgb_stream.clips.media import main_streams, open_media, picture_colors
from fmrgb_stream.clips.rates import constant_rate, grid_rate
from fmrgb_stream.clips.streams import AudioProbe, MediaProbe, VideoProbe
from fmrgb_stream.errors import RejectedInput

if TYPE_CHECKING:
    from av.audio.stream import AudioStream
    from av.container import InputContainer
    from av.packet import Packet
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream
    from numpy.typing import NDArray

logger = logging.getLogger(__name__)

_NOTED_REST_SECONDS: Final = 1.0
_MAX_STEP_BACK_SECONDS: Final = 1.0
# Packets of these carry pictures that are decoded but never shown.
_HIDDEN_FRAME_CODECS: Final = frozenset({"vp8"})


def probe(
    source: Path | bytes, *, max_pixels: int = 8192 * 8192, max_duration_seconds: float = 43200.0
) -> MediaProbe:
    """Look at one file without decoding it all.

    Raises:
        RejectedInput: empty, not media, cut off, without frames and sound, too large, too long.
    """
    reason = why_not_media(source, None)
    if reason:
        raise RejectedInput(reason)
    with open_media(source) as container:
        name = container.format.name
        video_stream, audio_stream = main_streams(container)
        if video_stream is None and audio_stream is None:
            raise RejectedInput("holds neither video nor sound")
        if video_stream is not None:
            _check_size(video_stream.width, video_stream.height, max_pixels)
        packets = _read_packets(container, video_stream, audio_stream, max_duration_seconds)
    warnings: list[str] = []
    video = None
    if video_stream is not None and packets.num_video:
        video = _probe_video(source, packets, max_pixels, max_duration_seconds)
    elif video_stream is not None:
        warnings.append("the video stream has no frames; taken as audio only")
    audio = None if audio_stream is None else _probe_audio(source, packets, warnings)
    return _judged(
        MediaProbe(format=name, video=video, audio=audio, warnings=tuple(warnings)),
        max_duration_seconds,
    )


def _judged(probed: MediaProbe, max_duration_seconds: float) -> MediaProbe:
    """The probe, if the file can be used; warned of sound that goes on without a picture."""
    video, audio = probed.video, probed.audio
    if video is None and audio is None:
        raise RejectedInput("zero video frames and no sound")
    if probed.duration_seconds > max_duration_seconds:
        raise RejectedInput(
            f"lasts {probed.duration_seconds:.0f} s, the limit is {max_duration_seconds:.0f} s"
        )
    if video is None or audio is None:
        return probed
    rest = audio.end_seconds - video.start_seconds - video.duration_seconds
    if rest <= _NOTED_REST_SECONDS:
        return probed
    warning = f"the sound goes on for {rest:.1f} s after the last frame; left out"
    return replace(probed, warnings=(*probed.warnings, warning))


@dataclass(slots=True)
class _Packets:
    """What demuxing told, before it is judged."""

    video_ticks: list[int]
    num_video: int
    needs_decoding: bool
    audio_end_seconds: float | None


def _read_packets(
    container: InputContainer,
    video: VideoStream | None,
    audio: AudioStream | None,
    max_duration_seconds: float,
) -> _Packets:
    found = _Packets([], 0, video is not None and video.codec.name in _HIDDEN_FRAME_CODECS, None)
    streams = [stream for stream in (video, audio) if stream is not None]
    last_dts: int | None = None
    limit = max_duration_seconds * 1000  # frames; no real file has more than 1000 a second
    try:
        for packet in container.demux(streams):
            if packet.size == 0:
                continue
            if video is not None and packet.stream_index == video.index:
                found.num_video += 1
                last_dts = _check_clock(packet, last_dts)
                if packet.pts is None:
                    found.needs_decoding = True
                elif not packet.is_discard:
                    found.video_ticks.append(packet.pts)
                if found.num_video > limit:
                    raise RejectedInput(f"more than {limit:.0f} frames")
            elif packet.pts is not None:
                end = float((packet.pts + (packet.duration or 0)) * packet.time_base)
                found.audio_end_seconds = max(end, found.audio_end_seconds or end)
    except FFmpegError as error:
        if not found.num_video and found.audio_end_seconds is None:
            raise RejectedInput(f"cannot be read: {error}") from error
        logger.debug("demuxing stopped early: %s", error)
    return found


def _check_clock(packet: Packet[Any], last_dts: int | None) -> int | None:
    """The packet's decoding time, which must not jump back: frames would have no one order."""
    if packet.dts is None or last_dts is None:
        return packet.dts
    step_seconds = float((packet.dts - last_dts) * packet.time_base)
    if step_seconds < -_MAX_STEP_BACK_SECONDS:
        raise RejectedInput(
            f"its clock jumps back by {-step_seconds:.1f} s; were files joined without remuxing?"
        )
    return packet.dts


def _probe_video(
    source: Path | bytes, packets: _Packets, max_pixels: int, max_duration_seconds: float
) -> VideoProbe | None:
    with open_media(source) as container:
        stream = main_streams(container)[0]
        if stream is None or stream.time_base is None:
            raise RejectedInput("the video stream went away between two looks at the file")
        stream.thread_type = "SLICE"
        stream.codec_context.thread_count = 1
        frames = container.decode(stream)
        try:
            first = next(frames, None)
            if first is None:
                raise RejectedInput(
                    f"none of {packets.num_video} video packets could be decoded "
                    f"(codec {stream.codec.name})"
                )
            _check_size(first.width, first.height, max_pixels)
            ticks = packets.video_ticks
            # Packet times that do not begin with the first picture are guesses (avi has none) or
            # begin with packets that need an earlier one.
            if packets.needs_decoding or first.pts != min(ticks, default=None):
                ticks = list(_decoded_ticks(first, frames, max_duration_seconds))
        except FFmpegError as error:
            raise RejectedInput(f"the video cannot be decoded: {error}") from error
        return _describe_video(stream, first, np.unique(np.asarray(ticks, dtype=np.int64)))


def _decoded_ticks(
    first: VideoFrame, rest: Iterable[VideoFrame], max_duration_seconds: float
) -> Iterator[int]:
    yield first.pts or 0
    for number, frame in enumerate(rest):
        if number > max_duration_seconds * 1000:
            raise RejectedInput(f"more than {max_duration_seconds * 1000:.0f} frames")
        if frame.pts is not None:
            yield frame.pts


def _describe_video(stream: VideoStream, first: VideoFrame, ticks: NDArray[np.int64]) -> VideoProbe:
    time_base = cast("Fraction", stream.time_base)
    announced = [_fraction(stream, n) for n in ("average_rate", "base_rate", "guessed_rate")]
    # Floats from the first frame on: ticks times 1/90000 lose nothing that matters within hours.
    times = (ticks - ticks[0]) * float(time_base)
    rate = constant_rate(times, tick_seconds=float(time_base), announced=announced)
    ratio = stream.sample_aspect_ratio
    matrix, full_range = picture_colors(first)
    return VideoProbe(
        stream_index=stream.index,
        codec=stream.codec.name,
        width=first.width,
        height=first.height,
        sample_aspect_ratio=ratio or Fraction(1),
        rotation_degrees=round(first.rotation / 90) * 90 % 360,
        color_matrix=matrix,
        color_range="full" if full_range else "limited",
        time_base=time_base,
        fps=rate or grid_rate(times, announced=announced),
        is_constant_rate=rate is not None,
        num_frames=len(ticks),
        first_tick=int(ticks[0]),
        ticks=None if rate is not None else ticks,
    )


def _fraction(stream: Any, name: str) -> Fraction | None:
    value = getattr(stream, name)
    return Fraction(value) if value else None


def _probe_audio(source: Path | bytes, packets: _Packets, warnings: list[str]) -> AudioProbe | None:
    with open_media(source) as container:
        stream = main_streams(container)[1]
        if stream is None:
            return None
        try:
            first = next((f for f in container.decode(stream) if f.samples), None)
        except FFmpegError as error:
            warnings.append(f"the sound cannot be decoded: {error} (codec {stream.codec.name})")
            return None
        if first is None:
            warnings.append("the sound track is empty")
            return None
        start = float(first.time) if first.time is not None else 0.0
        return AudioProbe(
            stream_index=stream.index,
            codec=stream.codec.name,
            sample_rate=first.sample_rate,
            num_channels=first.layout.nb_channels,
            start_seconds=start,
            end_seconds=max(start, packets.audio_end_seconds or start),
        )


def _check_size(width: int, height: int, max_pixels: int) -> None:
    if width * height > max_pixels:
        raise RejectedInput(f"{width}x{height} pixels, the limit is {max_pixels} a picture")
