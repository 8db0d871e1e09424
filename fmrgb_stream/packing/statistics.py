"""A packed train split -> mean and standard deviation of every plane, as a loader makes them.

The clips are made by the packing processes, which are there already; sums are whole numbers, so
they are the same in whatever order and by however many processes they come.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from fmrgb_stream.channels import FULL_SCALE
from fmrgb_stream.config import ClipConfig, FlowConfig, PackConfig, check_count
from fmrgb_stream.distributed import usable_cores
from fmrgb_stream.errors import ConfigError, DatasetError, SampleError
from fmrgb_stream.packing.pools import JobPool
from fmrgb_stream.packing.workers import WorkerPool
from fmrgb_stream.sample import ClipTask, PlannedClip
from fmrgb_stream.shards.manifest import MANIFEST_NAME, ChannelStats, Manifest, SplitEntry
from fmrgb_stream.shards.writer import write_atomic
from fmrgb_stream.storage import Store
from fmrgb_stream.storage.urls import parse_location
from fmrgb_stream.storage.writing import BucketWriter

if TYPE_CHECKING:
    from numpy.typing import NDArray

PLANES: Final = ("red", "green", "blue", "gray", "flow", "mel")
CLIP: Final = ClipConfig(channels=PLANES, window="centre")
CLIP_WITH_FLOW: Final = replace(CLIP, flow=FlowConfig(estimator="member"))
"""Of a dataset whose flow was packed."""
CLIPS_A_JOB: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaneSums:
    """Exact sums of one plane's 0..255 values."""

    count: int = 0
    total: int = 0
    total_of_squares: int = 0

    def __add__(self, other: PlaneSums) -> PlaneSums:
        """The sums over both."""
        return PlaneSums(
            count=self.count + other.count,
            total=self.total + other.total,
            total_of_squares=self.total_of_squares + other.total_of_squares,
        )

    def stats(self) -> ChannelStats:
        """Mean and population standard deviation, in 0..1."""
        mean = self.total / self.count
        # Whole numbers up to the last step, so that nothing cancels.
        variance = (self.count * self.total_of_squares - self.total**2) / self.count**2
        return ChannelStats(mean=mean / FULL_SCALE, std=variance**0.5 / FULL_SCALE)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    """Samples of one shard."""

    root: str
    shard: SplitEntry
    """The split, as if this shard were all of it."""
    samples: tuple[int, ...]
    """By their rows."""
    clip: ClipConfig
    audio_sample_rate: int
    skip_bad: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """What one job found."""

    sums: tuple[PlaneSums, ...]
    """By the order of `PLANES`."""
    num_clips: int
    problems: tuple[str, ...]
    """One for each sample that was passed over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What `measure_channels` found."""

    stats: dict[str, ChannelStats]
    """By plane."""
    num_clips: int
    problems: tuple[str, ...]
    """One for each clip that could not be made, and is not in the statistics."""


def measure_channels(
    root: str | os.PathLike[str],
    manifest: Manifest,
    *,
    max_clips: int,
    pool: JobPool,
    skip_bad: bool = False,
) -> Measured:
    """Statistics over clips of the train split.

    A packed split's samples stand in hashed order, so its first clips are a fair draw; tars of
    others may be sorted by class, so theirs are spread over all samples. Planes that never vary
    (the mel of a dataset without sound) are left out.

    Args:
        root: Folder or URL of the dataset.
        manifest: Its manifest.
        max_clips: At most this many.
        pool: Processes that make the clips.
        skip_bad: Pass over samples that cannot be decoded, while there are others.

    Raises:
        SampleError: a sample cannot be decoded, and `skip_bad` is not set.
        DatasetError, StorageError: a sample cannot be read back, or none can be decoded.
        PackError: a process died.
    """
    sums = [PlaneSums()] * len(PLANES)
    num_clips, problems = 0, list[str]()
    jobs = _jobs(root, manifest, max_clips, skip_bad=skip_bad)
    for found in pool.in_order(sum_planes, jobs, name_of=_name):
        sums = [mine + more for mine, more in zip(sums, found.sums, strict=True)]
        num_clips += found.num_clips
        problems += found.problems
    if not num_clips:
        raise DatasetError(
            f"none of {len(problems)} train clips can be decoded, so there are no channel "
            f"statistics: {problems[0] if problems else 'the split is empty'}; fmrgb verify tells more"
        )
    stats = {plane: one.stats() for plane, one in zip(PLANES, sums, strict=True)}
    return Measured(
        stats={plane: found for plane, found in stats.items() if found.std > 0},
        num_clips=num_clips,
        problems=tuple(problems),
    )


def recompute_statistics(
    root: str | os.PathLike[str],
    *,
    max_clips: int | None = None,
    is_trial: bool = False,
    num_workers: int | None = None,
) -> Manifest:
    """Measure the channels of a dataset anew, and put the result into its manifest, at once or not.

    Args:
        root: Folder or URL of manifest.json.
        max_clips: Clips of the train split, at most; None is as many as it was packed with.
        is_trial: Measure only; the manifest on disk stays.
        num_workers: Processes; None is one a usable core.

    Returns:
        The manifest with the new statistics.

    Raises:
        ManifestError: there is no train split, or it has no manifest.
        ConfigError: a count is none, or the dataset cannot be written to.
        SampleError, DatasetError, StorageError: a sample cannot be read.
    """
    check_count("max_clips", max_clips)
    check_count("num_workers", num_workers)
    manifest = Manifest.load(Store(root))
    manifest.split("train")
    write = None if is_trial else _manifest_writer(root)
    count = max_clips or manifest.stats_num_clips or PackConfig().stats_samples
    with WorkerPool(num_workers or usable_cores()) as pool:
        found = measure_channels(root, manifest, max_clips=count, pool=pool)
    measured = replace(manifest, channel_stats=found.stats, stats_num_clips=found.num_clips)
    if write is not None:
        write(measured.to_json().encode())
    return measured


def _manifest_writer(root: str | os.PathLike[str]) -> Callable[[bytes], None]:
    """What puts a whole manifest in the place of the old one; refuses before anything is measured."""
    location = parse_location(root)
    if not location.is_local:
        return partial(BucketWriter(location).put, MANIFEST_NAME)
    if not os.access(location.folder, os.W_OK):
        raise ConfigError(
            f"{root} cannot be written to; with is_trial=True (--dry-run) the numbers are only shown"
        )
    return partial(write_atomic, location.folder / MANIFEST_NAME)


def publish_statistics(
    root: Path, manifest: Manifest, *, max_clips: int, pool: JobPool, skip_bad: bool = False
) -> tuple[Manifest, tuple[str, ...]]:
    """Write manifest.json: first without, then with statistics of its train split.

    A crash in between leaves a manifest that is right but lacks them.

    Returns:
        The manifest, and a warning for each clip that `skip_bad` left out of the statistics.

    Raises:
        SampleError, DatasetError, StorageError, PackError: as `measure_channels`.
    """
    write_atomic(root / MANIFEST_NAME, manifest.to_json().encode())
    if "train" not in manifest.splits:
        return manifest, ()
    found = measure_channels(root, manifest, max_clips=max_clips, pool=pool, skip_bad=skip_bad)
    measured = replace(manifest, channel_stats=found.stats, stats_num_clips=found.num_clips)
    write_atomic(root / MANIFEST_NAME, measured.to_json().encode())
    return measured, tuple(f"not in the channel statistics: {text}" for text in found.problems)


def _jobs(
    root: str | os.PathLike[str], manifest: Manifest, max_clips: int, *, skip_bad: bool
) -> Iterator[_Job]:
    split, start = manifest.split("train"), 0
    chosen_N = _chosen(split.num_samples, max_clips, is_spread=manifest.is_indexed)
    for shard in split.shards:
        stop = start + shard.num_samples
        rows: list[int] = (chosen_N[(chosen_N >= start) & (chosen_N < stop)] - start).tolist()
        for first in range(0, len(rows), CLIPS_A_JOB):
            yield _Job(
                root=str(root),
                shard=replace(split, shards=(shard,)),
                samples=tuple(rows[first : first + CLIPS_A_JOB]),
                clip=CLIP_WITH_FLOW if manifest.pack_config.get("flow_video") else CLIP,
                audio_sample_rate=manifest.audio_sample_rate,
                skip_bad=skip_bad,
            )
        start = stop


def _chosen(num_samples: int, max_clips: int, *, is_spread: bool) -> NDArray[np.int64]:
    """Numbers of different samples, int64 [N], rising."""
    count = min(num_samples, max_clips)
    if is_spread:
        return np.linspace(0, num_samples - 1, count).round().astype(np.int64)
    return np.arange(count)


def _name(job: _Job) -> str:
    return f"{job.shard.shards[0].path} (channel statistics)"


def sum_planes(job: _Job) -> _Found:
    """The sums of each of `PLANES` over the clips of one job; runs in a packing process."""
    # Only who makes clips pays for OpenCV.
    from fmrgb_stream.pipelines.cpu.alone import make_clips

    sums = [PlaneSums()] * len(PLANES)
    num_clips, problems = 0, list[str]()
    numbers = iter(job.samples)
    while True:
        made = make_clips(
            _planned(job, numbers), clip=job.clip, audio_sample_rate=job.audio_sample_rate
        )
        try:
            for planes_CTHW in made:
                sums = [mine + _sums(plane) for mine, plane in zip(sums, planes_CTHW, strict=True)]
                num_clips += 1
            return _Found(sums=tuple(sums), num_clips=num_clips, problems=tuple(problems))
        except SampleError as error:
            if not job.skip_bad:
                raise
            problems.append(str(error))  # and on with the next number


def _planned(job: _Job, numbers: Iterator[int]) -> Iterator[PlannedClip]:
    from fmrgb_stream.clips.source import SampleSource
    from fmrgb_stream.shards import ShardReader

    source = SampleSource(ShardReader(Store(job.root), job.shard), clip=job.clip, seed=0)
    for number in numbers:
        task = ClipTask(sample_id=number, window_index=0, epoch=0, is_padding=False)
        yield source.fetch(task)


def _sums(values: NDArray[Any]) -> PlaneSums:
    """Count uint8 values of any shape."""
    flat = values.reshape(-1)
    squares = np.multiply(flat, flat, dtype=np.uint16)  # at most 255**2
    return PlaneSums(
        count=flat.size,
        total=int(np.add.reduce(flat, dtype=np.uint64)),
        total_of_squares=int(np.add.reduce(squares, dtype=np.uint64)),
    )
