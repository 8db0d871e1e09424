"""One encoded sample -> one media file that any player opens; nothing is encoded anew."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

import av
from av.error import FFmpegError

from fmrgb_stream.clips.media import main_streams, open_media
from fmrgb_stream.errors import DatasetError, RejectedInput
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
        DatasetError: picture and sound do not go into one file; says why and what to do.
    """
    info = sample.info
    video, audio = video_member(info), audio_member(info)
    if video is None or audio is None or video == audio:
        member = video or audio
        return _extension(member), bytes(sample.video or sample.audio or b"")
    is_mp4 = info.codec in _MP4_CODECS and info.sound_zero_seconds is None
    extension = "mp4" if is_mp4 else "mkv"
    zero = info.sound_zero_seconds or 0.0
    try:
        content, num_pictures = join(
            bytes(sample.video or b""),
            bytes(sample.audio or b""),
            sound_zero_seconds=zero,
            is_mp4=is_mp4,
        )
    except (ValueError, FFmpegError, RejectedInput) as error:  # PyAV's ValueError: not in Matroska
        raise _no_file(sample, str(error)) from error
    if num_pictures < info.num_frames:
        problem = f"{info.num_frames - num_pictures} of {info.num_frames} frames have no time"
        raise _no_file(sample, problem)
    return extension, content


def _no_file(sample: EncodedSample, problem: str) -> DatasetError:
    return DatasetError(
        f"picture ({sample.info.codec}) and sound of sample {sample.info.key!r} of "
        f"{sample.shard_url} do not go into one file: {problem}; pack the data (fmrgb pack), "
        "or export with --to pt"
    )


def _extension(member: Member | None) -> str:
    return "bin" if member is None else kind_of_extension(member.extension)


def join(
    video: bytes, audio: bytes, *, sound_zero_seconds: float, is_mp4: bool
) -> tuple[bytes, int]:
    """(a file with the packets of both, packets of pictures in it).

    What the sound has at `sound_zero_seconds`, on its own clock, is heard with the first frame. Its
    first packet may be earlier: MP3, AAC and Opus begin with samples that only start the codec.
    """
    buffer = io.BytesIO()
    with open_media(video) as pictures, open_media(audio) as sounds:
        picture, sound = main_streams(pictures)[0], main_streams(sounds)[1]
        if picture is None or sound is None:
            raise AssertionError("the members hold what the index says")
        options = {"fflags": "+bitexact"}
        with av.open(buffer, "w", format="mp4" if is_mp4 else "matroska", options=options) as out:
            targets = [out.add_stream_from_template(stream) for stream in (picture, sound)]
            shift_seconds = _start_seconds(video) - sound_zero_seconds
            tracks = [
                list(_packets(pictures, picture, 0.0)),
                list(_packets(sounds, sound, shift_seconds)),
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
    return buffer.getvalue(), len(tracks[0])


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
    container: InputContainer, stream: Stream, shift_seconds: float
) -> Iterator[Packet[Any]]:
    """Its packets, that much later."""
    for packet in container.demux(stream):
        if not packet.size or packet.dts is None or packet.pts is None:
            continue
        shift = round(shift_seconds / packet.time_base)
        packet.pts += shift
        packet.dts += shift
        yield packet
