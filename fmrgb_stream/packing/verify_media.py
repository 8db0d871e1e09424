"""One sample's bytes -> findings and facts: does it decode, to what the index says, and to what?

Everything is decoded the way a loader does by default, packet by packet where the index says where
they lie, so that an index that misleads the loader is found too.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np
from av.error import FFmpegError
from av.video.reformatter import Interpolation, VideoReformatter

from fmrgb_stream.clips.media import main_streams, open_media
from fmrgb_stream.clips.packets import packet_table
from fmrgb_stream.clips.plain_sound import with_plain_sound
from fmrgb_stream.errors import DecodeError, RejectedInput
from fmrgb_stream.packing.findings import Finding, Notes, Place
from fmrgb_stream.packing.looks import (
    MIN_STILL_SECONDS,
    THUMB_SIDE,
    Look,
    black_share,
    longest_still,
    look_of,
)
from fmrgb_stream.packing.verify_companions import check_companions
from fmrgb_stream.pipelines.cpu.packets import PacketDecoder
from fmrgb_stream.pipelines.cpu.sound import SoundReader
from fmrgb_stream.sample import EncodedSample, SampleInfo
from fmrgb_stream.shards.members import audio_member, video_member

if TYPE_CHECKING:
    from collections.abc import Iterator

    from av.video.frame import VideoFrame
    from numpy.typing import NDArray

SILENT_DECIBELS: Final = -70.0
"""Loudness re full scale that nobody hears and no microphone stays below."""
MIN_GAP_SECONDS: Final = 0.5
_MUCH: Final = 0.2
"""The share of a sample that may be without sound at either end."""
_MANY: Final = 0.5
"""The share of a sample from which on black or still pictures are worth a word."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaFacts:
    """What was found of one sample, right or wrong."""

    findings: tuple[Finding, ...]
    content_id: str
    """Equal for samples whose picture and sound have equal bytes."""
    look: Look | None = None
    """None where nothing was decoded, or it looks like anything."""
    loudness_decibels: float | None = None
    """Of the whole sound, re full scale; None without sound."""


def check_media(place: Place, content: memoryview, info: SampleInfo, *, decode: bool) -> MediaFacts:
    """Look at one sample of the shard whose bytes are `content`; runs in a thread."""
    notes, facts = Notes(), MediaFacts(findings=(), content_id=_content_id(content, info))
    if decode:
        video, audio = video_member(info), audio_member(info)
        sample = EncodedSample(
            sample_id=0,
            shard_url=place.path,
            info=info,
            video=None if video is None else content[video.offset : video.offset + video.size],
            audio=None if audio is None else content[audio.offset : audio.offset + audio.size],
        )
        if info.has_video:
            facts = replace(facts, look=_check_video(place, sample, notes))
        if info.has_audio:
            facts = replace(facts, loudness_decibels=_check_sound(place, sample, notes))
        check_companions(place, content, info, notes)
    return replace(facts, findings=tuple(notes.findings))


def _content_id(content: memoryview, info: SampleInfo) -> str:
    digest = hashlib.blake2b(digest_size=16)
    members = [m for m in (video_member(info), audio_member(info)) if m is not None]
    for member in members:
        digest.update(content[member.offset : member.offset + member.size])
    return digest.hexdigest() if members else ""


def _check_video(place: Place, sample: EncodedSample, notes: Notes) -> Look | None:
    info = sample.info
    if sample.video is None:
        notes.error("member", place, "the index says it has video, but there is no such member")
        return None
    try:
        thumbs_FHW, odd_sizes = _thumbnails(sample)
    except RejectedInput as error:
        notes.error("video-decode", place, f"the video cannot be decoded: {error.reason}")
        return None
    except DecodeError as error:
        problem = f"the video cannot be decoded by the index's packet table: {error}"
        notes.error("video-decode", place, problem)
        return None
    if odd_sizes:
        width, height = odd_sizes[0]
        problem = f"frames of {width}x{height} pixels, the index says {info.width}x{info.height}"
        notes.error("frame-size", place, problem)
    if len(thumbs_FHW) != info.num_frames:
        problem = f"decodes to {len(thumbs_FHW)} frames, the index says {info.num_frames}"
        notes.error("frame-count", place, problem)
    if info.packets is not None and not _is_true_table(bytes(sample.video), info):
        notes.error("packet-table", place, "the index's packet table is not the video's own")
    _check_times(place, bytes(sample.video), info, notes)
    if not len(thumbs_FHW):
        return None
    _check_content(place, thumbs_FHW, info, notes)
    return look_of(thumbs_FHW)


def _thumbnails(sample: EncodedSample) -> tuple[NDArray[np.uint8], list[tuple[int, int]]]:
    """(uint8 [F, 32, 32] in order of presentation, sizes that are not the index's).

    Raises:
        RejectedInput: the container or its codec gives up.
        DecodeError: the packets of the index do not fit the video, or the codec refuses them.
    """
    info = sample.info
    reformatter = VideoReformatter()
    thumbs: dict[int, NDArray[np.uint8]] = {}
    odd_sizes: list[tuple[int, int]] = []
    for index, frame in _frames(sample):
        if (frame.width, frame.height) != (info.width, info.height):
            odd_sizes.append((frame.width, frame.height))
        small = reformatter.reformat(
            frame, THUMB_SIDE, THUMB_SIDE, format="gray", interpolation=Interpolation.AREA
        )
        thumbs[index] = small.to_ndarray().astype(np.uint8, copy=False)
    shown = [thumbs[index] for index in sorted(thumbs)]
    empty = np.empty((0, THUMB_SIDE, THUMB_SIDE), np.uint8)
    return (np.stack(shown) if shown else empty), odd_sizes


def _frames(sample: EncodedSample) -> Iterator[tuple[int, VideoFrame]]:
    if PacketDecoder.can_decode(sample):
        yield from PacketDecoder().frames(sample, range(sample.info.num_frames))
        return
    with open_media(bytes(sample.video or b"")) as container:
        stream = main_streams(container)[0]
        if stream is None:
            raise RejectedInput("holds no video")
        stream.codec_context.thread_count = 1
        index = -1
        try:
            for index, frame in enumerate(container.decode(stream)):
                yield index, frame
        except FFmpegError as error:
            raise RejectedInput(f"after {index + 1} frames: {error}") from error


def _is_true_table(video: bytes, info: SampleInfo) -> bool:
    """Whether the container has the packets of the index, with equal bytes and in equal order."""
    found, noted = packet_table(video), info.packets
    if found is None or noted is None:
        return False
    table, extradata = found
    return (
        extradata == info.extradata
        and np.array_equal(table.offsets, noted.offsets)
        and np.array_equal(table.sizes, noted.sizes)
        and np.array_equal(table.is_key, noted.is_key)
        # Of the times only their order matters.
        and np.array_equal(np.argsort(table.pts), np.argsort(noted.pts))
    )


def _check_times(place: Place, video: bytes, info: SampleInfo, notes: Notes) -> None:
    """Frames must be shown when the index says, or sound and picture drift apart."""
    found = _container_times(video)
    if found is None or len(found) != info.num_frames:
        return
    # Proxies of a variable rate lie on a grid, and the index has the true times beside it.
    grid = np.arange(info.num_frames) / info.fps
    drift = min(float(np.abs(found - wanted).max()) for wanted in (grid, info.times_seconds()))
    if drift > 1 / info.fps:
        problem = f"its frames are shown up to {drift:.3f} s from where the index says"
        notes.error("frame-times", place, f"{problem}, so sound and picture drift apart")


def _container_times(video: bytes) -> NDArray[np.float64] | None:
    """When frames are shown, float64 [F], the first at 0; None where the container cannot tell."""
    try:
        with open_media(video) as container:
            stream = main_streams(container)[0]
            if stream is None or stream.time_base is None or container.format.name == "avi":
                return None
            packets = [packet for packet in container.demux(stream) if packet.size]
            ticks = [packet.pts for packet in packets if not packet.is_discard]
            if not ticks or None in ticks:
                return None
            times = np.sort(np.asarray(ticks, np.float64)) * float(stream.time_base)
            return times - times[0]
    except (RejectedInput, FFmpegError):
        return None


def _check_content(
    place: Place, thumbs_FHW: NDArray[np.uint8], info: SampleInfo, notes: Notes
) -> None:
    black = black_share(thumbs_FHW)
    if black > _MANY:
        notes.warning("black", place, f"{black:.0%} of its frames are black")
        return
    first, length = longest_still(thumbs_FHW)
    if length / info.fps >= MIN_STILL_SECONDS and length > _MANY * len(thumbs_FHW):
        times = info.times_seconds()
        start = float(times[min(first, len(times) - 1)])
        problem = f"the picture stands still for {length / info.fps:.1f} s from {start:.1f} s on"
        notes.warning("frozen", place, problem)


def _check_sound(place: Place, sample: EncodedSample, notes: Notes) -> float | None:
    """The loudness in dB re full scale; None where it cannot be decoded or is silent."""
    if sample.audio is None:
        notes.error("member", place, "the index says it has sound, but there is no such member")
        return None
    try:
        with SoundReader(with_plain_sound(sample)) as sound:
            waveform_S = sound.read(0, sample.info.num_audio_samples)
    except DecodeError as error:
        notes.error("sound-decode", place, str(error))
        return None
    power = float(np.mean(np.square(waveform_S, dtype=np.float64))) if len(waveform_S) else 0.0
    decibels = 10 * math.log10(max(power, 1e-12))
    if decibels < SILENT_DECIBELS:
        notes.warning("silent", place, f"its sound is silent ({decibels:.0f} dB re full scale)")
        return None
    _check_ends(place, waveform_S, sample.info, notes)
    return decibels


def _check_ends(
    place: Place, waveform_S: NDArray[np.float32], info: SampleInfo, notes: Notes
) -> None:
    """Sound that begins late or ends early is filled up with zeros, which no recording has."""
    heard = np.flatnonzero(waveform_S)
    before, after = int(heard[0]), len(waveform_S) - 1 - int(heard[-1])
    limit = max(MIN_GAP_SECONDS * info.audio_sample_rate, _MUCH * len(waveform_S))
    for gap, what in ((before, "begins {} s after"), (after, "ends {} s before")):
        if gap > limit:
            told = what.format(f"{gap / info.audio_sample_rate:.1f}")
            notes.warning("sound-gap", place, f"its sound {told} the picture")
