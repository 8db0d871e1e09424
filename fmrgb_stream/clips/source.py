"""Task -> PlannedClip: the sample's bytes from its shard, its frames from the sampling rules."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import reduce
from operator import add
from typing import Final

from fmrgb_stream.channels import needs_picture
from fmrgb_stream.clips.sampling import plan_clip
from fmrgb_stream.config import ClipConfig
from fmrgb_stream.sample import ClipTask, PlannedClip
from fmrgb_stream.shards import ShardReader
from fmrgb_stream.shards.plan import uniform_at
from fmrgb_stream.storage import ReadCounts

_SPREAD: Final = 9
"""A damaged stretch of the split should not swallow all neighbours that are tried."""


class SampleSource:
    """The `ClipSource` of a split. Safe to call from many threads."""

    def __init__(self, reader: ShardReader, *, clip: ClipConfig, seed: int) -> None:
        """Read only the members that the clip needs."""
        self._reader = reader
        self._clip = clip
        self._seed = seed
        self._with_video = needs_picture(clip.planes)
        self._with_audio = clip.needs_audio
        self._with_flow = clip.needs_flow and clip.flow.estimator == "member"
        self._with_matte = self._with_video and clip.matte

    def fetch(self, task: ClipTask) -> PlannedClip:
        """Read the task's sample and plan its clip (see `ClipSource.fetch`)."""
        sample = self._reader.read(
            task.sample_id,
            with_video=self._with_video,
            with_audio=self._with_audio,
            with_flow=self._with_flow,
            with_matte=self._with_matte,
        )
        plan = plan_clip(
            sample.info,
            self._clip,
            uniform=uniform_at(self._seed, task.epoch, task.sample_id),
            window_index=task.window_index,
        )
        if sample.info.sound_zero_seconds is not None:
            # PyAV, which a trainer's own process need not load.
            from fmrgb_stream.clips.plain_sound import needed_span, with_plain_sound

            sample = with_plain_sound(sample, needed_span(plan, self._clip))
        return PlannedClip(task=task, sample=sample, plan=plan)

    def neighbour(self, task: ClipTask, attempt: int) -> ClipTask:
        """The next sample first, then samples spread over the split; the first window of each."""
        num_samples = self._reader.num_samples
        step = attempt + (attempt - 1) * (num_samples // _SPREAD)
        return replace(task, sample_id=(task.sample_id + step) % num_samples, window_index=0)

    def describe(self, task: ClipTask) -> tuple[str, str]:
        """(shard URL, key) of the task's sample."""
        return self._reader.describe(task.sample_id)

    def read_counts(self) -> ReadCounts:
        """What was read in this process."""
        return self._reader.read_counts()


class MixedSource:
    """The `ClipSource` of a mixture: each task's own dataset. Safe to call from many threads."""

    def __init__(self, sources: Sequence[SampleSource]) -> None:
        """Take the datasets in the order of their numbers."""
        self._sources = tuple(sources)

    def fetch(self, task: ClipTask) -> PlannedClip:
        """Read the task's sample and plan its clip (see `ClipSource.fetch`)."""
        return self._sources[task.source].fetch(task)

    def neighbour(self, task: ClipTask, attempt: int) -> ClipTask:
        """Another sample of the same dataset."""
        return self._sources[task.source].neighbour(task, attempt)

    def describe(self, task: ClipTask) -> tuple[str, str]:
        """(shard URL, key) of the task's sample."""
        return self._sources[task.source].describe(task)

    def read_counts(self) -> ReadCounts:
        """What was read in this process, of all datasets."""
        return reduce(add, [source.read_counts() for source in self._sources])
