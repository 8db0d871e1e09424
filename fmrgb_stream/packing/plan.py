"""Probed inputs -> PackPlan: which stretch of which file becomes which sample of which shard.

A pure function of inputs and config: a second run plans the same.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from fmrgb_stream.clips.rates import segment_bounds
from fmrgb_stream.clips.streams import MediaProbe, VideoProbe
from fmrgb_stream.config import PackConfig
from fmrgb_stream.errors import RejectedInput
from fmrgb_stream.packing.groups import group_inputs
from fmrgb_stream.packing.sources import Reject, SourceItem, unique
from fmrgb_stream.packing.splits import assign_splits, explicit_splits, hash_fraction

if TYPE_CHECKING:
    from numpy.typing import NDArray


NOT_SHAPING: Final = ("num_workers", "executor", "address")
"""Settings that say who packs, which changes no byte."""

_OF_COMPANIONS: Final = ("flow_video", "matte")
_OF_CROP: Final = ("crop", "crop_box", "crop_margin", "no_face")
"""Noted where they are used, so that datasets of before they were there stay what they are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Companion:
    """A video that goes with an input frame by frame."""

    kind: str
    """`flow` or `matte`."""
    path: Path
    sha256: str
    video: VideoProbe


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbedInput:
    """One usable input."""

    item: SourceItem
    probe: MediaProbe
    sha256: str
    """Of the file's content."""
    companions: tuple[Companion, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedSample:
    """A stretch of one input: frames `first` up to, not including, `end`."""

    key: str
    group: str
    input_index: int
    first: int
    end: int
    is_cut: bool
    """False when it is the whole input."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedShard:
    """The samples of one tar, in order."""

    path: str
    split: str
    samples: tuple[PlannedSample, ...]
    fingerprint: str
    """Changes with anything that shapes the shard's bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PackPlan:
    """All that will be packed."""

    inputs: tuple[ProbedInput, ...]
    shards: tuple[PlannedShard, ...]
    split_names: tuple[str, ...]
    rejects: tuple[Reject, ...]
    warnings: tuple[str, ...]
    fingerprint: str

    @property
    def num_samples(self) -> int:
        """Samples planned."""
        return sum(len(shard.samples) for shard in self.shards)


def config_values(config: PackConfig) -> dict[str, Any]:
    """The settings that shape the output, as plain JSON values."""
    off = NOT_SHAPING if config.crop != "none" else (*NOT_SHAPING, *_OF_CROP)
    values = {
        field.name: getattr(config, field.name)
        for field in fields(config)
        if field.name not in (*off, *_OF_COMPANIONS, "splits")
    }
    # Where companions lie changes nothing, and what they hold is in the plan.
    values |= {name: True for name in _OF_COMPANIONS if getattr(config, name) is not None}
    return {**values, "splits": dict(config.splits)}


def plan_values(plan: PackPlan) -> dict[str, Any]:
    """What a dataset notes beside the settings, to know its own plan again."""
    return {"plan_fingerprint": plan.fingerprint, "num_inputs": len(plan.inputs)}


def frame_times(
    probe: MediaProbe, config: PackConfig, *, first: int = 0, end: int | None = None
) -> NDArray[np.float64]:
    """Times of the frames `first`..`end` after frame 0: float64, at most `end - first` of them.

    Of the video, or of the timeline given to sound alone.
    """
    if probe.video is not None:
        return probe.video.frame_times_seconds(first, end) - probe.video.start_seconds
    num_frames = max(1, round(probe.duration_seconds * config.virtual_fps))
    end = num_frames if end is None else min(end, num_frames)
    return np.arange(first, end, dtype=np.float64) / config.virtual_fps


def cut_input(probed: ProbedInput, config: PackConfig) -> list[tuple[int, int]]:
    """(first, end) frames of every sample that one input gives.

    Raises:
        RejectedInput: `start`/`end` leave nothing, or go with `copy`.
    """
    item = probed.item
    times = frame_times(probed.probe, config)
    if config.copy:
        if item.start_seconds is not None or item.end_seconds is not None:
            raise RejectedInput(
                "start and end need cutting, which copy cannot do; pack it without copy"
            )
        return [(0, len(times))]
    start = item.start_seconds or 0.0
    end = float("inf") if item.end_seconds is None else item.end_seconds
    # As with segments: a microsecond for times that a clock rounded.
    first, stop = np.searchsorted(times, [start - 1e-6, end - 1e-6])
    if first >= stop:
        raise RejectedInput(
            f"no frame between {start:g} s and {end:g} s; it lasts "
            f"{probed.probe.duration_seconds:.2f} s"
        )
    bounds = segment_bounds(times[first:stop], config.segment_seconds)
    return [(int(first) + a, int(first) + b) for a, b in bounds]


def make_plan(
    inputs: Sequence[ProbedInput], *, classes: Sequence[str], config: PackConfig
) -> PackPlan:
    """Cut, name, split, order and shard the inputs.

    Raises:
        SourceError: a group stands in two splits.
    """
    grouped = group_inputs(inputs)
    groups = grouped.names
    explicit = explicit_splits(
        (group, probed.item.split, probed.item.relative)
        for group, probed in zip(groups, inputs, strict=True)
    )
    rejects: list[Reject] = []
    samples = list(_samples(inputs, groups, rejects, config))
    assigned = assign_splits(
        (sample.group for sample in samples), explicit, seed=config.seed, shares=config.splits
    )
    used = set(assigned.values())
    names = [name for name in config.splits if name in used]
    names += sorted(used - set(names))
    base = _digest([config_values(config), list(classes)])
    shards: list[PlannedShard] = []
    for split in names:
        chosen = [sample for sample in samples if assigned[sample.group] == split]
        chosen.sort(key=lambda sample: (hash_fraction(config.seed, sample.key), sample.key))
        shards += _shards(split, chosen, inputs, base, config.samples_per_shard)
    return PackPlan(
        inputs=tuple(inputs),
        shards=tuple(shards),
        split_names=tuple(names),
        rejects=tuple(rejects),
        warnings=grouped.warnings,
        fingerprint=_digest([base, *(shard.fingerprint for shard in shards)]),
    )


def _samples(
    inputs: Sequence[ProbedInput],
    groups: Sequence[str],
    rejects: list[Reject],
    config: PackConfig,
) -> Iterator[PlannedSample]:
    taken: set[str] = set()
    for index, (probed, group) in enumerate(zip(inputs, groups, strict=True)):
        try:
            bounds = cut_input(probed, config)
        except RejectedInput as error:
            rejects.append(Reject(path=probed.item.relative, reason=error.reason, stage="source"))
            continue
        for number, (first, end) in enumerate(bounds):
            suffix = f"-s{number:04d}" if len(bounds) > 1 else ""
            yield PlannedSample(
                key=unique(probed.item.key + suffix, taken),
                group=group,
                input_index=index,
                first=first,
                end=end,
                is_cut=len(bounds) > 1 or probed.item.start_seconds is not None,
            )


def _shards(
    split: str,
    samples: Sequence[PlannedSample],
    inputs: Sequence[ProbedInput],
    base: str,
    samples_per_shard: int,
) -> Iterator[PlannedShard]:
    for number, start in enumerate(range(0, len(samples), samples_per_shard)):
        chosen = tuple(samples[start : start + samples_per_shard])
        described = [
            [*asdict(s).values(), inputs[s.input_index].sha256, _labels(inputs[s.input_index].item)]
            for s in chosen
        ]
        for row, sample in zip(described, chosen, strict=True):
            row[2] = ""  # the input's number: other inputs may come and go
            row += [[c.kind, c.sha256] for c in inputs[sample.input_index].companions]
        yield PlannedShard(
            path=f"{split}/shard-{number:06d}.tar",
            split=split,
            samples=chosen,
            fingerprint=_digest([base, *described]),
        )


def _labels(item: SourceItem) -> list[Any]:
    return [item.relative, item.label, item.targets, item.start_seconds, item.end_seconds]


def _digest(values: Any) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:32]
