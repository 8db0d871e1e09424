"""One encoded sample -> one media file that any player opens; nothing is encoded anew."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

import av

from fmrgb_stream.clips.media import main_streams, open_media
from fmrgb_stream.sample import EncodedSample, Member
from fmrgb_stream.shards.members import audio_member, kind_of_extension, video_member

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet
    from av.stream import Stream

_MP4_CODECS: Final = frozenset({"h264", "hevc", "vp9", "av1", "mpeg4"})
"""Pictures that go into mp4 beside FLAC; the others, and other kinds of sound, into Matroska."""


def media_file(sample: EncodedSample) -> tuple[str, bytes]:
    """(extension, content): picture and sound of the sample in one file.

    A sample of one member is that member. `sample` was read with both.

    Raises:
        RejectedInput, FFmpegError: a member cannot be read.
    """
    info = sample.info
    video, audio = video_member(info), audio_member(info)
    if video is None or audio is None or video == audio:
        member = video or audio
        return _extension(member), bytes(sample.video or sample.audio or b"")
    is_mp4 = info.codec in _MP4_CODECS and info.sound_zero_seconds is None
    extension = "mp4" if is_mp4 else "mkv"
    content = join(bytes(sample.video or b""), bytes(sample.audio or b""), is_mp4=is_mp4)
    return extension, content


def _extension(member: Member | None) -> str:
    return "bin" if member is None else kind_of_extension(member.extension)


def join(video: bytes, audio: bytes, *, is_mp4: bool) -> bytes:
    """A file with the packets of both, the sound beginning with the first frame."""
    buffer = io.BytesIO()
    with open_media(video) as pictures, open_media(audio) as sounds:
        picture, sound = main_streams(pictures)[0], main_streams(sounds)[1]
        if picture is None or sound is None:
            raise AssertionError("the members hold what the index says")
        options = {"fflags": "+bitexact"}
        with av.open(buffer, "w", format="mp4" if is_mp4 else "matroska", options=options) as out:
            targets = [out.add_stream_from_template(stream) for stream in (picture, sound)]
            start = _start_seconds(video)
            tracks = [
                list(_packets(pictures, picture, 0.0)),
                list(_packets(sounds, sound, start)),
            ]
            # Both tracks in the order of time, so that a player need not jump.
            ordered = sorted(
                (
                    (_decode_seconds(packet), number, packet)
                    for number, track in enumerate(tracks)
                    for packet in track
                ),
                key=lambda entry: entry[:2],
            )
            for _, number, packet in ordered:
                packet.stream = targets[number]
                out.mux(packet)
    return buffer.getvalue()


def _decode_seconds(packet: Packet[Any]) -> float:
    return float((packet.dts or 0) * packet.time_base)


def _start_seconds(video: bytes) -> float:
    """When the first frame is shown, on the file's own clock."""
    with open_media(video) as container:
        stream = main_streams(container)[0]
        times = [
            float(packet.pts * packet.time_base)
            for packet in container.demux(stream)
            if packet.size and packet.pts is not None and not packet.is_discard
        ]
    return min(times, default=0.0)


def _packets(
    container: InputContainer, stream: Stream, zero_seconds: float
) -> Iterator[Packet[Any]]:
    """Its packets; with a zero, moved so that the first one is there."""
    shift = None
    for packet in container.demux(stream):
        if not packet.size or packet.dts is None or packet.pts is None:
            continue
        if stream.type == "audio":
            if shift is None:
                shift = round(zero_seconds / packet.time_base) - packet.pts
            packet.pts += shift
            packet.dts += shift
        yield packet
