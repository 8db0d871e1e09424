"""One sample's bytes -> findings: does it decode, and to what the index says?

Video is decoded the way a loader does by default, packet by packet where the index says where they
lie, so that an index that misleads the loader is found too.
"""

from __future__ import annotations

import io
from typing import Final

import numpy as np
import soundfile

from fmrgb_stream.clips.count import count_frames
from fmrgb_stream.clips.packets import packet_table
from fmrgb_stream.errors import DecodeError, RejectedInput
from fmrgb_stream.packing.findings import Finding, Notes
from fmrgb_stream.pipelines.cpu.packets import PacketDecoder
from fmrgb_stream.sample import EncodedSample, Member, SampleInfo
from fmrgb_stream.shards.manifest import ShardEntry

_SIDE_MEMBERS: Final = frozenset({"flac", "json"})


def check_media(shard: ShardEntry, content: bytes, info: SampleInfo) -> list[Finding]:
    """Decode one sample of a shard whose bytes are `content`; runs in a thread."""
    notes, place = Notes(), f"{shard.path} {info.key}"
    if info.has_video:
        _check_video(shard, place, content, info, notes)
    if info.has_audio:
        _check_audio(place, content, info, notes)
    return notes.findings


def _bytes_of(content: bytes, member: Member) -> bytes:
    return content[member.offset : member.offset + member.size]


def _check_video(
    shard: ShardEntry, place: str, content: bytes, info: SampleInfo, notes: Notes
) -> None:
    member = next((m for m in info.members if m.extension not in _SIDE_MEMBERS), None)
    if member is None:
        notes.error(place, "the index says it has video, but there is no such member")
        return
    video = _bytes_of(content, member)
    sample = EncodedSample(
        sample_id=0, shard_url=shard.path, info=info, video=memoryview(video), audio=None
    )
    try:
        if PacketDecoder.can_decode(sample):
            num_frames = _count_by_packets(sample)
        else:
            num_frames = count_frames(video)
    except RejectedInput as error:
        notes.error(place, f"the video cannot be decoded: {error.reason}")
        return
    except DecodeError as error:
        notes.error(place, f"the video cannot be decoded by the index's packet table: {error}")
        return
    if num_frames != info.num_frames:
        notes.error(place, f"decodes to {num_frames} frames, the index says {info.num_frames}")
    if info.packets is not None and not _is_true_table(video, info):
        notes.error(place, "the index's packet table is not the video's own")


def _count_by_packets(sample: EncodedSample) -> int:
    """Frames that the packets of the index decode to.

    Raises:
        DecodeError: they do not fit the video, or the codec refuses them.
    """
    shown = PacketDecoder().frames(sample, range(sample.info.num_frames))
    return len({index for index, _ in shown})


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


def _check_audio(place: str, content: bytes, info: SampleInfo, notes: Notes) -> None:
    member = info.member("flac")
    if member is None:
        notes.error(place, "the index says it has sound, but there is no flac member")
        return
    try:
        samples, rate = soundfile.read(io.BytesIO(_bytes_of(content, member)), dtype="int16")
    except soundfile.LibsndfileError as error:
        notes.error(place, f"the sound cannot be decoded: {error}")
        return
    if samples.ndim != 1 or (len(samples), rate) != (
        info.num_audio_samples,
        info.audio_sample_rate,
    ):
        notes.error(
            place,
            f"the sound has shape {samples.shape} at {rate} Hz, the index says mono, "
            f"{info.num_audio_samples} samples at {info.audio_sample_rate} Hz",
        )
