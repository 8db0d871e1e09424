"""The clips of a batch -> ClipBatch.

Shape legend: B batch, C channels, T clip frames, H height, W width.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch
from torch import Tensor

from fmrgb_stream.pipelines.cpu.clip import ClipExtras
from fmrgb_stream.sample import ClipBatch, ClipPlan, ClipTask, SampleInfo

if TYPE_CHECKING:
    from numpy.typing import NDArray

NO_LABEL: Final = -100
"""Label of an unlabelled sample among labelled ones; torch's losses leave it out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipResult:
    """What a worker hands back beside the planes it wrote."""

    info: SampleInfo
    """Of the sample that was delivered."""
    plan: ClipPlan
    extras: ClipExtras
    is_substitute: bool


def assemble_batch(
    clip_BCTHW: Tensor,
    tasks: Sequence[ClipTask],
    results: Sequence[ClipResult],
    *,
    channels: tuple[str, ...],
    flow_estimator: str,
    has_labels: bool,
    num_targets: int,
) -> ClipBatch:
    """Put the columns beside the planes. `clip_BCTHW` is not copied."""
    infos = [result.info for result in results]
    plans = [result.plan for result in results]
    return ClipBatch(
        clip=clip_BCTHW,
        channels=channels,
        labels=_labels(infos) if has_labels else None,
        targets=_targets(infos, num_targets) if num_targets else None,
        keys=tuple(info.key for info in infos),
        sample_ids=torch.tensor([task.sample_id for task in tasks], dtype=torch.int64),
        window_indices=torch.tensor([task.window_index for task in tasks], dtype=torch.int64),
        times_seconds=torch.tensor(np.stack([plan.times_seconds for plan in plans])),
        num_valid_frames=torch.tensor([p.num_valid_frames for p in plans], dtype=torch.int64),
        is_padding=torch.tensor([task.is_padding for task in tasks]),
        is_substitute=torch.tensor([result.is_substitute for result in results]),
        flow_estimator=flow_estimator,
        mel_image=_stack([_channel(result.extras.mel_image) for result in results]),
        waveform=_stack([result.extras.waveform for result in results]),
        audio_features=_stack([result.extras.audio_features for result in results]),
    )


def _labels(infos: Sequence[SampleInfo]) -> Tensor:
    labels = [NO_LABEL if info.label is None else info.label for info in infos]
    return torch.tensor(labels, dtype=torch.int64)


def _targets(infos: Sequence[SampleInfo], num_targets: int) -> Tensor:
    """float32 [B, N]; NaN for a sample without targets."""
    missing = (math.nan,) * num_targets
    return torch.tensor([info.targets or missing for info in infos], dtype=torch.float32)


def _channel(image_MW: NDArray[np.uint8] | None) -> NDArray[np.uint8] | None:
    return None if image_MW is None else image_MW[None]


def _stack(arrays: Sequence[NDArray[Any] | None]) -> Tensor | None:
    present = [array for array in arrays if array is not None]
    return torch.from_numpy(np.stack(present)) if present else None  # pyright: ignore[reportUnknownMemberType]
