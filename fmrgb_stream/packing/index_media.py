"""Members of one sample -> SampleInfo: what a loader has to know of media that others encoded."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from fmrgb_stream.clips.flac import flac_layout
from fmrgb_stream.clips.probe import probe
from fmrgb_stream.clips.streams import AudioProbe, MediaProbe, VideoProbe
from fmrgb_stream.config import IndexConfig
from fmrgb_stream.errors import RejectedInput
from fmrgb_stream.packing.copied_picture import with_copied_picture
from fmrgb_stream.sample import Member, SampleInfo
from fmrgb_stream.shards.members import audio_file, video_file

if TYPE_CHECKING:
    from fmrgb_stream.packing.index_tar import TarSample


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexedSample:
    """One usable sample, and what a user should know of it."""

    info: SampleInfo
    warnings: tuple[str, ...]


def index_media(sample: TarSample, content: memoryview, config: IndexConfig) -> IndexedSample:
    """Look into the sample's picture and sound; `content` is that of the whole tar.

    Raises:
        RejectedInput: it holds neither, or they cannot be decoded.
    """
    file, sound_file = video_file(sample.members), audio_file(sample.members)
    warnings: list[str] = []
    info = _empty(sample)
    inside: MediaProbe | None = None
    if file is not None:
        inside = _probe(content, file, config)
        warnings += inside.warnings
        if inside.video is not None:
            info = _with_picture(info, inside.video, _bytes(content, file))
    if sound_file is not None:
        try:
            found = _probe(content, sound_file, config)
        except RejectedInput as error:
            if inside is None or inside.video is None:
                raise
            warnings.append(f"{sound_file.extension}: {error.reason}; used without sound")
            return IndexedSample(info=info, warnings=tuple(warnings))
        if found.audio is not None:
            zero = found.audio.start_seconds
            info = _with_sound(info, found.audio, zero, config)
            info = _if_plain(info, found.audio, _bytes(content, sound_file), config)
    elif inside is not None and inside.audio is not None:
        info = _with_sound(info, inside.audio, inside.start_seconds, config)
    if not info.has_video and not info.has_audio:
        extensions = ", ".join(member.extension for member in sample.members)
        raise RejectedInput(f"neither picture nor sound among its members ({extensions})")
    return IndexedSample(info=info, warnings=tuple(warnings))


def _bytes(content: memoryview, member: Member) -> bytes:
    return bytes(content[member.offset : member.offset + member.size])


def _probe(content: memoryview, member: Member, config: IndexConfig) -> MediaProbe:
    return probe(
        _bytes(content, member),
        max_pixels=config.max_pixels,
        max_duration_seconds=config.max_duration_seconds,
    )


def _empty(sample: TarSample) -> SampleInfo:
    return SampleInfo(
        key=sample.key,
        group=sample.key,
        label=None,
        targets=None,
        has_video=False,
        has_audio=False,
        fps=0.0,
        num_frames=0,
        duration_seconds=0.0,
        width=0,
        height=0,
        codec="",
        color_matrix="bt601",
        color_range="limited",
        rotation_degrees=0,
        audio_sample_rate=0,
        num_audio_samples=0,
        extradata=b"",
        frame_times_seconds=None,
        packets=None,
        members=sample.members,
    )


def _with_picture(info: SampleInfo, video: VideoProbe, content: bytes) -> SampleInfo:
    times = video.frame_times_seconds() - video.start_seconds
    info = replace(info, duration_seconds=video.duration_seconds)
    return with_copied_picture(info, video, content, times)


def _with_sound(
    info: SampleInfo, audio: AudioProbe, zero_seconds: float, config: IndexConfig
) -> SampleInfo:
    """The sound as it will be when it is read: as long as the picture, at the dataset's rate."""
    if not info.has_video:
        duration = audio.end_seconds - audio.start_seconds
        num_frames = max(1, round(duration * config.virtual_fps))
        info = replace(
            info, fps=config.virtual_fps, num_frames=num_frames, duration_seconds=duration
        )
    num_samples = round(info.duration_seconds * config.audio_sample_rate)
    if num_samples == 0:
        raise RejectedInput("its sound is shorter than one sample")
    return replace(
        info,
        has_audio=True,
        audio_sample_rate=config.audio_sample_rate,
        num_audio_samples=num_samples,
        sound_zero_seconds=zero_seconds,
    )


def _if_plain(
    info: SampleInfo, audio: AudioProbe, content: bytes, config: IndexConfig
) -> SampleInfo:
    """FLAC that is what the packer writes need not be converted each time it is read."""
    layout = flac_layout(memoryview(content)) if audio.codec == "flac" else None
    is_plain = (
        layout is not None
        and layout.sample_rate == config.audio_sample_rate
        and layout.num_samples == info.num_audio_samples
    )
    return replace(info, sound_zero_seconds=None) if is_plain else info
