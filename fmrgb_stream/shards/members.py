"""What the index knows of a sample -> which of its members is the picture, and which the sound."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from fmrgb_stream.sample import Member, SampleInfo

VIDEO_EXTENSIONS: Final = frozenset(
    {
        *("mp4", "mov", "m4v", "3gp", "3g2", "mj2", "mkv", "webm", "avi", "flv", "wmv", "asf"),
        *("ts", "m2ts", "mts", "mpg", "mpeg", "vob", "m2v", "m1v", "ogv", "h264", "264", "hevc"),
        *("265", "ivf", "dv", "mxf", "nut", "rm", "rmvb", "gif", "video"),
    }
)
AUDIO_EXTENSIONS: Final = ("flac", "wav", "ogg", "oga", "opus", "mp3", "m4a", "aac")
"""In this order, where a sample has several."""
FLOW_EXTENSION: Final = "flow.mp4"
MATTE_EXTENSION: Final = "matte.mp4"
COMPANION_EXTENSIONS: Final = (FLOW_EXTENSION, MATTE_EXTENSION)
"""Grey videos that go with the picture frame by frame, and are no pictures of their own."""


def kind_of_extension(extension: str) -> str:
    """The last part of an extension in small letters: `camera1.MP4` is an `mp4`."""
    return extension.rpartition(".")[2].lower()


def video_member(info: SampleInfo) -> Member | None:
    """The member that holds the pictures; None for a sample without."""
    return video_file(info.members) if info.has_video else None


def audio_member(info: SampleInfo) -> Member | None:
    """The member that holds the sound, which may be the video itself; None for a sample without."""
    if not info.has_audio:
        return None
    own = audio_file(info.members)
    if own is None and info.sound_zero_seconds is not None:
        return video_file(info.members)
    return own


def audio_file(members: Iterable[Member]) -> Member | None:
    """The member that is a file of sound, the best kind of them."""
    by_kind = {kind_of_extension(m.extension): m for m in reversed(list(members))}
    return next((by_kind[kind] for kind in AUDIO_EXTENSIONS if kind in by_kind), None)


def video_file(members: Iterable[Member]) -> Member | None:
    """The first member that is a file of pictures, by its name."""
    pictures = (m for m in members if m.extension.lower() not in COMPANION_EXTENSIONS)
    return next((m for m in pictures if kind_of_extension(m.extension) in VIDEO_EXTENSIONS), None)
