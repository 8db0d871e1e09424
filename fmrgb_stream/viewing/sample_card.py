"""Dataset root and key -> SampleCard: one sample's streams, times, labels, and where it lies."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import isnan
from typing import TYPE_CHECKING, Any

import numpy as np

from fmrgb_stream.clips.keyframes import ShownPackets, read_shown_packets, shown_packets
from fmrgb_stream.clips.probe import probe
from fmrgb_stream.errors import RejectedInput
from fmrgb_stream.shards import find_sample, open_dataset
from fmrgb_stream.viewing.dataset_card import Spread

if TYPE_CHECKING:
    from fmrgb_stream.sample import EncodedSample, Member, SampleInfo
    from fmrgb_stream.shards import FoundSample, Manifest
    from fmrgb_stream.storage import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class PacketsCard:
    """The video's packets."""

    num_packets: int
    packet_bytes: Spread | None
    keyframes: tuple[int, ...]
    """Frame numbers in presentation order."""
    keyframe_seconds: tuple[float, ...]
    is_in_index: bool
    """Whether the index lists them, so that a loader decodes packet by packet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TimesCard:
    """When frames are shown."""

    is_variable_rate: bool
    first_seconds: float
    last_seconds: float
    gap_milliseconds: Spread | None
    frame_seconds: tuple[float, ...]
    """Every frame's time where the rate varies; empty where frame k is at k / fps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleCard:
    """One sample."""

    key: str
    split: str
    sample_id: int
    group: str
    label: int | None
    label_name: str | None
    targets: Mapping[str, float]
    shard: str
    sidecar: str
    row: int
    members: tuple[Member, ...]
    """Offsets are bytes from the start of the shard."""
    fps: float
    num_frames: int
    duration_seconds: float
    has_video: bool
    codec: str
    width: int
    height: int
    rotation_degrees: int
    crop: str | None
    """By which rule the picture was cropped when it was packed; None is not at all."""
    color_matrix: str
    color_range: str
    has_audio: bool
    audio_sample_rate: int
    num_audio_samples: int
    sync_residual_seconds: float | None
    """See `sync_residual_seconds`."""
    packets: PacketsCard | None
    times: TimesCard
    streams: tuple[str, ...]
    """What the members themselves hold, probed; one line each."""
    source: Mapping[str, Any]
    """The `.json` member: where the sample came from. Empty without one."""

    def as_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        # JSON has no NaN, which stands for a target that nobody gave.
        targets = {name: None if isnan(value) else value for name, value in self.targets.items()}
        return {**asdict(self), "targets": targets, "source": dict(self.source)}


def read_sample_card(root: str | os.PathLike[str], key: str) -> SampleCard:
    """Look at one sample: its row, its members' checksums, and their streams.

    Raises:
        ManifestError: there is no dataset, or no such key; names the nearest ones.
        StorageError, ShardCorrupt: the sample cannot be read.
    """
    store, manifest = open_dataset(root)
    found = find_sample(store, manifest, key)
    sample = found.reader.read(found.sample_id, with_flow=True, with_matte=True)
    info = found.info
    return SampleCard(
        key=info.key,
        split=found.split,
        sample_id=found.sample_id,
        group=info.group,
        label=info.label,
        label_name=label_name(manifest, info),
        targets=dict(zip(manifest.target_names, info.targets or (), strict=False)),
        shard=store.url_of(found.shard.path),
        sidecar=store.url_of(found.shard.index_path),
        row=found.row,
        members=info.members,
        fps=info.fps,
        num_frames=info.num_frames,
        duration_seconds=info.duration_seconds,
        has_video=info.has_video,
        codec=info.codec,
        width=info.width,
        height=info.height,
        rotation_degrees=info.rotation_degrees,
        crop=info.crop,
        color_matrix=info.color_matrix,
        color_range=info.color_range,
        has_audio=info.has_audio,
        audio_sample_rate=info.audio_sample_rate,
        num_audio_samples=info.num_audio_samples,
        sync_residual_seconds=sync_residual_seconds(info),
        packets=_packets(sample),
        times=_times(info),
        streams=tuple(_streams(sample)),
        source=_source(store, found),
    )


def label_name(manifest: Manifest, info: SampleInfo) -> str | None:
    """The class name of a sample's label, or None without one."""
    if info.label is None:
        return None
    is_named = 0 <= info.label < len(manifest.classes)
    return manifest.classes[info.label] if is_named else f"label {info.label}"


def sync_residual_seconds(info: SampleInfo) -> float | None:
    """How much later the sound ends than the picture, by the index; None without both.

    Both start at 0 by contract, so the ends are what an index can tell of how they fit. Whether a
    mouth and a word meet inside is for eyes and ears.
    """
    if not (info.has_video and info.has_audio):
        return None
    return info.num_audio_samples / info.audio_sample_rate - info.duration_seconds


def sync_text(residual_seconds: float) -> str:
    """The residual in words."""
    side = "after" if residual_seconds >= 0 else "before"
    return f"{abs(1000 * residual_seconds):.2f} ms {side} the picture"


def _packets(sample: EncodedSample) -> PacketsCard | None:
    info = sample.info
    if sample.video is None:
        return None
    shown = _shown(sample)
    if shown is None:
        return None
    keyframes = np.flatnonzero(shown.is_key_P)
    times = info.times_seconds()
    # A container may hold a packet more than frames are shown.
    keyframes = keyframes[keyframes < len(times)]
    return PacketsCard(
        num_packets=len(shown.sizes_P),
        packet_bytes=Spread.of(shown.sizes_P.tolist()),
        keyframes=tuple(keyframes.tolist()),
        keyframe_seconds=tuple(times[keyframes].tolist()),
        is_in_index=info.packets is not None,
    )


def _shown(sample: EncodedSample) -> ShownPackets | None:
    if sample.info.packets is not None:
        return shown_packets(sample.info.packets)
    try:
        return read_shown_packets(bytes(sample.video or b""))
    except RejectedInput:
        return None  # `streams` says why


def _times(info: SampleInfo) -> TimesCard:
    times = info.times_seconds()
    is_variable = info.frame_times_seconds is not None
    return TimesCard(
        is_variable_rate=is_variable,
        first_seconds=float(times[0]) if len(times) else 0.0,
        last_seconds=float(times[-1]) if len(times) else 0.0,
        gap_milliseconds=Spread.of((1000 * np.diff(times)).tolist()),
        frame_seconds=tuple(times.tolist()) if is_variable else (),
    )


def _streams(sample: EncodedSample) -> list[str]:
    lines: list[str] = []
    # Others keep the sound inside the video's own file: one member, described once.
    is_one_file = sample.audio is not None and sample.audio == sample.video
    members = {
        "picture": sample.video,
        "sound": sample.audio,
        "flow": sample.flow,
        "matte": sample.matte,
    }
    for name, view in members.items():
        if view is None or (name == "sound" and is_one_file):
            continue
        try:
            found = probe(bytes(view))
        except RejectedInput as error:
            lines.append(f"{name} member: cannot be probed: {error.reason}")
            continue
        if found.video is not None:
            video = found.video
            rate = "constant" if video.is_constant_rate else "variable"
            lines.append(
                f"{name} member ({found.format}): video {video.codec}, "
                f"{video.width}x{video.height}, {float(video.fps):g} fps ({rate}), "
                f"{video.num_frames} frames, {video.color_matrix} {video.color_range}, "
                f"time base {video.time_base}"
                + (f", turned by {video.rotation_degrees}" if video.rotation_degrees else "")
            )
        if found.audio is not None:
            audio = found.audio
            lines.append(
                f"{name} member ({found.format}): audio {audio.codec}, {audio.sample_rate} Hz, "
                f"{audio.num_channels} channel{'s' if audio.num_channels > 1 else ''}, "
                f"{audio.start_seconds:.3f} to {audio.end_seconds:.3f} s"
            )
        lines += [f"{name} member: {warning}" for warning in found.warnings]
    return lines


def _source(store: Store, found: FoundSample) -> Mapping[str, Any]:
    member = found.info.member("json")
    if member is None:
        return {}
    text = store.read_range(found.shard.path, start=member.offset, length=member.size)
    try:
        content: Any = json.loads(bytes(text))
    except ValueError:
        return {}  # verify's business; the card shows what the index knows
    return content if isinstance(content, dict) else {}
