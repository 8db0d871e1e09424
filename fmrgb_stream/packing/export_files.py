"""Samples of a dataset -> one file each: the media as they are encoded, or planes as a tensor.

This is the unit of work of an exporting process. A file that is there was written whole by an earlier
run, and is kept.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np

from fmrgb_stream.clips.sampling import plan_clip
from fmrgb_stream.config import ClipConfig, ExportConfig, FlowConfig
from fmrgb_stream.packing.export_media import media_file
from fmrgb_stream.packing.export_tables import ExportedRow, safe_name
from fmrgb_stream.sample import ClipTask, EncodedSample, PlannedClip, SampleInfo
from fmrgb_stream.shards import ShardReader, SplitEntry
from fmrgb_stream.shards.members import FLOW_EXTENSION
from fmrgb_stream.shards.writer import write_atomic
from fmrgb_stream.storage import Store

SAMPLES_A_JOB: Final = 8
_NO_PICTURE_SIZE: Final = (112, 112)
"""Of the planes of sound alone, where no size was asked for."""
_LARGEST: Final = 2048


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportJob:
    """Consecutive samples of one split."""

    root: str
    split: str
    entry: SplitEntry
    samples: range
    destination: Path
    folder: str
    """Of the files, from the destination."""
    config: ExportConfig
    audio_sample_rate: int


def export_samples(job: ExportJob) -> list[tuple[ExportedRow, bool]]:
    """Write the files of one job; runs in a process of its own. (what was written, was it there).

    Raises:
        SampleError, DatasetError, StorageError: a sample cannot be read.
    """
    reader = ShardReader(Store(job.root), job.entry)
    held = _held_files(job.destination / job.folder)
    return [_export(job, reader, number, held) for number in job.samples]


def _held_files(folder: Path) -> dict[str, str]:
    """File names by what stands before their extension, which has no dot; keys may have some."""
    names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    return {name.rpartition(".")[0]: name for name in names if not name.endswith(".partial")}


def _export(
    job: ExportJob, reader: ShardReader, number: int, held: Mapping[str, str]
) -> tuple[ExportedRow, bool]:
    info = reader.info(number)
    name = safe_name(info.key)
    if name in held:
        path = f"{job.folder}/{held[name]}"
        return ExportedRow(split=job.split, path=path, info=info), True
    sample = reader.read(number, with_flow=True, with_matte=True)
    if job.config.to == "pt":
        extension, content = "pt", _tensor_file(sample, job)
    else:
        extension, content = media_file(sample)
    if job.config.to == "folder":
        for kind, companion in (("flow", sample.flow), ("matte", sample.matte)):
            if companion is not None:
                # Where `fmrgb pack --flow-video` and `--matte` look for them; before the sample's own file,
                # which says that it is whole.
                path = job.destination / kind / job.folder / f"{name}.mp4"
                write_atomic(path, bytes(companion))
    path = f"{job.folder}/{name}.{extension}"
    write_atomic(job.destination / path, content)
    return ExportedRow(split=job.split, path=path, info=info), False


def _tensor_file(sample: EncodedSample, job: ExportJob) -> bytes:
    """torch.save of uint8 [T, H, W, C], which `torch.load(weights_only=True)` opens."""
    import torch

    from fmrgb_stream.clips.plain_sound import with_plain_sound
    from fmrgb_stream.pipelines.cpu.alone import make_clips

    clip = whole_clip(sample.info, job.config)
    planned = _planned(with_plain_sound(sample), clip)
    for planes_CTHW in make_clips(planned, clip=clip, audio_sample_rate=job.audio_sample_rate):
        planes_THWC = np.ascontiguousarray(planes_CTHW.transpose(1, 2, 3, 0))
        buffer = io.BytesIO()
        torch.save(torch.from_numpy(planes_THWC), buffer)  # pyright: ignore[reportUnknownMemberType]
        return buffer.getvalue()
    raise AssertionError("one planned clip gives one clip")


def whole_clip(info: SampleInfo, config: ExportConfig) -> ClipConfig:
    """The clip that shows every `frame_stride`-th frame of one sample, its packed flow if it has one.

    Raises:
        ConfigError: the planes or the size cannot be.
    """
    clip = ClipConfig(
        num_frames=math.ceil(info.num_frames / config.frame_stride),
        frame_stride=config.frame_stride,
        size=config.size or _own_size(info),
        channels=config.channels,
        window="start",
    )
    if info.member(FLOW_EXTENSION) is not None and "flow" in clip.planes:
        return replace(clip, flow=FlowConfig(estimator="member"))
    return clip


def _own_size(info: SampleInfo) -> tuple[int, int]:
    if not info.has_video:
        return _NO_PICTURE_SIZE
    upright = (info.height, info.width)
    if info.rotation_degrees % 180:
        upright = (info.width, info.height)
    scale = min(1.0, _LARGEST / max(upright))
    return max(8, round(upright[0] * scale)), max(8, round(upright[1] * scale))


def _planned(sample: EncodedSample, clip: ClipConfig) -> Iterator[PlannedClip]:
    task = ClipTask(sample_id=sample.sample_id, window_index=0, epoch=0, is_padding=False)
    plan = plan_clip(sample.info, clip, uniform=0.0, window_index=0)
    yield PlannedClip(task=task, sample=replace(sample), plan=plan)
