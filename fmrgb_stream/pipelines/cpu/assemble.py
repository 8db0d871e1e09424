"""The clips of a batch -> ClipBatch, on the memory that the workers wrote."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from fmrgb_stream.pipelines.label_columns import label_column, source_columns, target_column
from fmrgb_stream.sample import ClipBatch, ClipTask

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from fmrgb_stream.pipelines.cpu.layout import BatchLayout, Column
    from fmrgb_stream.pipelines.cpu.results import MadeClip


def assemble_batch(
    memory: NDArray[np.uint8],
    layout: BatchLayout,
    tasks: Sequence[ClipTask],
    clips: Sequence[MadeClip],
    *,
    channels: tuple[str, ...],
    flow_estimator: str,
    has_labels: bool,
    num_targets: int,
) -> ClipBatch:
    """Tensors on the batch's memory, and beside them what is known of its clips.

    `memory` must not be kept by the caller: it is used again when the last tensor is gone. Small
    columns are copied, so that keeping them does not keep the planes.
    """
    values: Tensor = torch.from_numpy(memory)  # pyright: ignore[reportUnknownMemberType]
    mel_image = _tensor(values, layout.mel_image_BMW)
    features = _tensor(values, layout.audio_features_BF)
    return ClipBatch(
        clip=_column(values, layout.planes_BCTHW),
        channels=channels,
        labels=label_column([clip.label for clip in clips]) if has_labels else None,
        targets=(
            target_column([clip.targets for clip in clips], num_targets) if num_targets else None
        ),
        keys=tuple(clip.key for clip in clips),
        sample_ids=torch.tensor([task.sample_id for task in tasks], dtype=torch.int64),
        window_indices=torch.tensor([task.window_index for task in tasks], dtype=torch.int64),
        times_seconds=_column(values, layout.times_seconds_BT).clone(),
        num_valid_frames=torch.tensor([c.num_valid_frames for c in clips], dtype=torch.int64),
        is_padding=torch.tensor([task.is_padding for task in tasks]),
        is_substitute=torch.tensor([clip.is_substitute for clip in clips]),
        flow_estimator=flow_estimator,
        mel_image=None if mel_image is None else mel_image[:, None],
        waveform=_tensor(values, layout.waveform_BS),
        audio_features=None if features is None else features.clone(),
        **source_columns(tasks),
    )


def _column(values: Tensor, column: Column) -> Tensor:
    dtype: torch.dtype = getattr(torch, column.dtype.name)
    return values[column.start : column.stop].view(dtype).view(column.shape)


def _tensor(values: Tensor, column: Column | None) -> Tensor | None:
    return None if column is None else _column(values, column)
