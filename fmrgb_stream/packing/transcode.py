"""One planned sample -> SampleRecord: picture, sound and a json of what they are.

This is the unit of work of a packing process.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fmrgb_stream.clips.packets import packet_table
from fmrgb_stream.clips.rates import frames_on_grid, true_times
from fmrgb_stream.clips.streams import VideoProbe
from fmrgb_stream.config import PackConfig
from fmrgb_stream.errors import RejectedInput
from fmrgb_stream.packing.audio import Sound, cut_sound
from fmrgb_stream.packing.companion_video import encode_companion
from fmrgb_stream.packing.copied_picture import with_copied_picture
from fmrgb_stream.packing.crop import Crop, find_crop
from fmrgb_stream.packing.describe import json_member
from fmrgb_stream.packing.encoders import proxy_encoder
from fmrgb_stream.packing.extensions import video_extension
from fmrgb_stream.packing.proxy import Proxy, encode_proxy, proxy_size
from fmrgb_stream.packing.stretch import Stretch
from fmrgb_stream.packing.task import Task
from fmrgb_stream.packing.trouble import machine_trouble
from fmrgb_stream.sample import SampleInfo
from fmrgb_stream.shards.writer import SampleRecord

if TYPE_CHECKING:
    pass


@dataclass(frozen=True, slots=True, kw_only=True)
class Packed:
    """A finished sample, and what a user should know of it."""

    record: SampleRecord
    warnings: tuple[str, ...]


def make_record(task: Task, config: PackConfig, *, scratch: Path) -> Packed:
    """Make one sample. `scratch` is a folder of this process.

    Raises:
        RejectedInput: picture or, without picture, sound cannot be decoded.
        PackError: the scratch folder cannot be written to.
    """
    files: dict[str, bytes] = {}
    more: dict[str, Any] = {}
    warnings = list(task.warnings)
    info = _empty_info(task)
    if task.video is not None and config.copy:
        info = _copy_video(task, info, files)
        places = np.arange(info.num_frames, dtype=np.int64)
        stretch = replace(_stretch(task, config), shown=places)
        size = proxy_size(task.video, config)
        files |= _companions(task, config, stretch, None, size=size, scratch=scratch)
    elif task.video is not None:
        stretch = _stretch(task, config)
        crop = find_crop(stretch, config)
        if crop is not None:
            info, more["crop"] = replace(info, crop=crop.rule), crop.as_json()
        proxy = encode_proxy(stretch, config, crop=crop, scratch=scratch)
        info = _proxy_video(task, info, stretch, proxy, files, warnings, config)
        size = (proxy.width, proxy.height)
        files |= _companions(task, config, stretch, crop, size=size, scratch=scratch)
    else:
        num_frames = len(task.times_seconds)
        info = replace(info, fps=config.virtual_fps, num_frames=num_frames)
    sound = _sound(task, info.duration_seconds, warnings, config)
    if sound is not None:
        files["flac"] = sound.flac
        info = replace(
            info,
            has_audio=True,
            audio_sample_rate=config.audio_sample_rate,
            num_audio_samples=sound.num_samples,
        )
    files["json"] = json_member(
        info,
        task.item,
        sha256=task.sha256,
        start_seconds=task.offset_seconds,
        warnings=warnings,
        more=more,
    )
    noted = tuple(f"{task.item.relative}: {warning}" for warning in warnings)
    return Packed(record=SampleRecord(info=info, files=files), warnings=noted)


def _empty_info(task: Task) -> SampleInfo:
    return SampleInfo(
        key=task.key,
        group=task.group,
        label=task.label,
        targets=task.item.targets,
        has_video=False,
        has_audio=False,
        fps=0.0,
        num_frames=0,
        duration_seconds=task.duration_seconds,
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
        members=(),
    )


def _stretch(task: Task, config: PackConfig) -> Stretch:
    video = _require(task.video)
    fps = _output_fps(video, config)
    num_places = max(1, round(task.duration_seconds * float(fps)))
    return Stretch(
        path=task.item.path,
        video=video,
        times_seconds=task.start_seconds + task.times_seconds,
        shown=frames_on_grid(task.times_seconds, fps=fps, num_cells=num_places),
        fps=fps,
    )


def _companions(
    task: Task,
    config: PackConfig,
    own: Stretch,
    crop: Crop | None,
    *,
    size: tuple[int, int],
    scratch: Path,
) -> dict[str, bytes]:
    """Members by extension."""
    files: dict[str, bytes] = {}
    for companion in task.companions:
        stretch = replace(
            own,
            path=companion.path,
            video=companion.video,
            times_seconds=companion.times_seconds,
        )
        proxy = encode_companion(
            companion.kind, stretch, config, crop=crop, own=own, size=size, scratch=scratch
        )
        if proxy.num_missing:
            raise RejectedInput(
                f"its {companion.kind} video lacks {proxy.num_missing} frames that its container "
                "announces"
            )
        files[f"{companion.kind}.mp4"] = proxy.mp4
    return files


def _proxy_video(
    task: Task,
    info: SampleInfo,
    stretch: Stretch,
    proxy: Proxy,
    files: dict[str, bytes],
    warnings: list[str],
    config: PackConfig,
) -> SampleInfo:
    fps, num_places = stretch.fps, len(stretch.shown)
    found = packet_table(proxy.mp4)
    if found is None or len(found[0].sizes) != num_places:
        raise AssertionError(f"{task.key}: the proxy's packets do not lie as they were written")
    if proxy.num_missing:
        warnings.append(f"{proxy.num_missing} frames could not be decoded; neighbours stand in")
    files["mp4"] = proxy.mp4
    return replace(
        info,
        has_video=True,
        fps=float(fps),
        num_frames=num_places,
        duration_seconds=num_places / float(fps),
        width=proxy.width,
        height=proxy.height,
        codec=proxy_encoder(config).codec,
        extradata=found[1],
        frame_times_seconds=true_times(task.times_seconds, stretch.shown, fps=fps),
        packets=found[0],
    )


def _output_fps(video: VideoProbe, config: PackConfig) -> Fraction:
    if config.fps is None or config.fps >= video.fps:
        return video.fps
    return Fraction(config.fps).limit_denominator(1001)


def _copy_video(task: Task, info: SampleInfo, files: dict[str, bytes]) -> SampleInfo:
    video = _require(task.video)
    content = task.item.path.read_bytes()
    files[video_extension(task.item.path.suffix, task.container_format)] = content
    return with_copied_picture(info, video, content, task.times_seconds)


def _require(video: VideoProbe | None) -> VideoProbe:
    if video is None:
        raise AssertionError("a task with a picture has a video probe")
    return video


def _sound(
    task: Task, duration_seconds: float, warnings: list[str], config: PackConfig
) -> Sound | None:
    if task.audio is None:
        return None
    try:
        sound = cut_sound(
            task.item.path,
            task.audio,
            start_seconds=task.start_seconds,
            duration_seconds=duration_seconds,
            sample_rate=config.audio_sample_rate,
        )
    except RejectedInput as error:
        if task.video is None or machine_trouble(error, task.item.path) is not None:
            raise
        warnings.append(f"{error.reason}; packed without sound")
        return None
    if sound.warning:
        warnings.append(sound.warning)
    return sound
