"""A media file, as path or bytes -> MediaProbe: its streams, and when each frame is shown.

Frame times come from packets, without decoding; only the first picture and the first sound are
decoded, to learn rotation and colour and to prove that the codecs work. One pass does both: opening
a file costs more than reading its packets.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

import numpy as np
from av.error import FFmpegError

from fmrgb_stream.clips.containers import why_not_media
from fmrgb_stream.clips.media import main_streams, open_media, picture_colors
from fmrgb_stream.clips.rates import constant_rate, grid_rate
from fmrgb_stream.clips.streams import AudioProbe, MediaProbe, VideoProbe
from fmrgb_stream.errors import RejectedInput

if TYPE_CHECKING:
    from av.audio.frame import AudioFrame
    from av.audio.stream import AudioStream
    from av.container import InputContainer
    from av.packet import Packet
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream
    from numpy.typing import NDArray

logger = logging.getLogger(__name__)

Frame = TypeVar("Frame")

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
            ticks = _frame_ticks(source, video_stream, packets, max_pixels, max_duration_seconds)
            video = _describe_video(video_stream, packets.picture.frame, ticks)
        elif video_stream is not None:
            warnings.append("the video stream has no frames; taken as audio only")
        audio = None if audio_stream is None else _probe_audio(audio_stream, packets, warnings)
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
class _First(Generic[Frame]):
    """The first frame that a stream decodes to, or why there is none."""

    frame: Frame | None = None
    error: FFmpegError | None = None

    def feed(self, packet: Packet[Any]) -> None:
        """Decode until there is a frame; an empty packet gives what the decoder still holds."""
        if self.frame is not None or self.error is not None:
            return
        try:
            frames = packet.decode()
        except FFmpegError as error:
            self.error = error
            return
        # A sound frame may hold nothing.
        self.frame = next((frame for frame in frames if getattr(frame, "samples", 1)), None)


@dataclass(slots=True)
class _Packets:
    """What demuxing told, before it is judged."""

    needs_decoding: bool
    video_ticks: list[int] = field(default_factory=list)
    num_video: int = 0
    audio_end_ticks: int | None = None
    picture: _First[VideoFrame] = field(default_factory=_First["VideoFrame"])
    sound: _First[AudioFrame] = field(default_factory=_First["AudioFrame"])


def _read_packets(
    container: InputContainer,
    video: VideoStream | None,
    audio: AudioStream | None,
    max_duration_seconds: float,
) -> _Packets:
    found = _Packets(video is not None and video.codec.name in _HIDDEN_FRAME_CODECS)
    if video is not None:
        video.thread_type = "SLICE"
        video.codec_context.thread_count = 1
    streams = [stream for stream in (video, audio) if stream is not None]
    last_dts: int | None = None
    limit = max_duration_seconds * 1000  # frames; no real file has more than 1000 a second
    try:
        for packet in container.demux(streams):
            is_video = video is not None and packet.stream_index == video.index
            if packet.size and is_video:
                last_dts = _note_picture(packet, found, last_dts)
                if found.num_video > limit:
                    raise RejectedInput(f"more than {limit:.0f} frames")
            elif packet.size and packet.pts is not None:
                end = packet.pts + (packet.duration or 0)
                found.audio_end_ticks = max(end, found.audio_end_ticks or end)
            (found.picture if is_video else found.sound).feed(packet)
    except FFmpegError as error:
        if not found.num_video and found.audio_end_ticks is None:
            raise RejectedInput(f"cannot be read: {error}") from error
        logger.debug("demuxing stopped early: %s", error)
        for first in (found.picture, found.sound):
            if first.frame is None:
                first.error = first.error or error
    return found


def _note_picture(packet: Packet[Any], found: _Packets, last_dts: int | None) -> int | None:
    found.num_video += 1
    if packet.pts is None:
        found.needs_decoding = True
    elif not packet.is_discard:
        found.video_ticks.append(packet.pts)
    return _check_clock(packet, last_dts)


def _check_clock(packet: Packet[Any], last_dts: int | None) -> int | None:
    """The packet's decoding time, which must not jump back: frames would have no one order."""
    if packet.dts is None or last_dts is None or packet.dts >= last_dts:
        return packet.dts
    step_seconds = float((packet.dts - last_dts) * packet.time_base)
    if step_seconds < -_MAX_STEP_BACK_SECONDS:
        raise RejectedInput(
            f"its clock jumps back by {-step_seconds:.1f} s; were files joined without remuxing?"
        )
    return packet.dts


def _frame_ticks(
    source: Path | bytes,
    stream: VideoStream,
    packets: _Packets,
    max_pixels: int,
    max_duration_seconds: float,
) -> NDArray[np.int64]:
    """int64 [F]: when each frame is shown.

    Raises:
        RejectedInput: no picture can be decoded, or it is too large.
    """
    if packets.picture.error is not None:
        error = packets.picture.error
        raise RejectedInput(f"the video cannot be decoded: {error}") from error
    first = packets.picture.frame
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
        ticks = _decoded_ticks(source, max_duration_seconds)
    return np.unique(np.asarray(ticks, dtype=np.int64))


def _decoded_ticks(source: Path | bytes, max_duration_seconds: float) -> list[int]:
    """The times of all frames, by decoding all of them."""
    ticks: list[int] = []
    with open_media(source) as container:
        stream = main_streams(container)[0]
        if stream is None:
            raise RejectedInput("the video stream went away between two looks at the file")
        stream.thread_type = "SLICE"
        stream.codec_context.thread_count = 1
        try:
            for number, frame in enumerate(container.decode(stream)):
                if number > max_duration_seconds * 1000:
                    raise RejectedInput(f"more than {max_duration_seconds * 1000:.0f} frames")
                if frame.pts is not None or not number:
                    ticks.append(frame.pts or 0)
        except FFmpegError as error:
            raise RejectedInput(f"the video cannot be decoded: {error}") from error
    return ticks


def _describe_video(
    stream: VideoStream, first: VideoFrame | None, ticks: NDArray[np.int64]
) -> VideoProbe:
    if first is None or stream.time_base is None:
        raise AssertionError("a stream that decodes has a first frame and a time base")
    time_base = stream.time_base
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


def _probe_audio(stream: AudioStream, packets: _Packets, warnings: list[str]) -> AudioProbe | None:
    first, error = packets.sound.frame, packets.sound.error
    if error is not None:
        warnings.append(f"the sound cannot be decoded: {error} (codec {stream.codec.name})")
        return None
    if first is None:
        warnings.append("the sound track is empty")
        return None
    start = float(first.time) if first.time is not None else 0.0
    end = start
    if packets.audio_end_ticks is not None and stream.time_base is not None:
        end = max(start, float(packets.audio_end_ticks * stream.time_base))
    return AudioProbe(
        stream_index=stream.index,
        codec=stream.codec.name,
        sample_rate=first.sample_rate,
        num_channels=first.layout.nb_channels,
        start_seconds=start,
        end_seconds=end,
    )


def _check_size(width: int, height: int, max_pixels: int) -> None:
    if width * height > max_pixels:
        raise RejectedInput(f"{width}x{height} pixels, the limit is {max_pixels} a picture")
