"""A model, or one of its methods, on batches -> its rows of all processes, batch by batch.

Shape legend: B clips, T frames, K outputs, N targets.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from accelerate import Accelerator
from torch import Tensor

from fmrgb_stream.models.interface import CLIP_FIELDS, model_inputs
from fmrgb_stream.sample import ClipBatch


@dataclass(frozen=True, slots=True, kw_only=True)
class GatheredBatch:
    """A global batch without its padding, on the CPU, on every process."""

    outputs: Tensor
    """float32 [B, K]."""
    sample_ids: Tensor
    """int64 [B]."""
    window_indices: Tensor
    """int64 [B]."""
    spans_seconds: Tensor
    """float64 [B, 2]: times of the first and of the last valid frame."""
    middle_seconds: Tensor
    """float64 [B]: time of the frame at place T // 2."""
    is_substitute: Tensor
    """bool [B]: the sample could not be read, another one stood in."""
    labels: Tensor | None
    """int64 [B]."""
    targets: Tensor | None
    """float32 [B, N]."""


def run_model(
    call: Callable[..., Tensor],
    batches: Iterable[ClipBatch],
    *,
    accelerator: Accelerator,
    fields: Sequence[str] = CLIP_FIELDS,
) -> Iterator[GatheredBatch]:
    """Call a model on every batch and bring together what all processes got.

    Args:
        call: The model, in evaluation mode, or one of its methods: inputs -> float [B, K].
        batches: This process's; each process must have as many, of the same size.
        accelerator: Knows the device and the other processes.
        fields: What `call` takes of a batch.
    """
    device = accelerator.device
    for batch in batches:
        with torch.inference_mode(), accelerator.autocast():
            outputs = call(*model_inputs(batch, tuple(fields), device=device)).float()
            columns = [outputs, *_columns(batch)]
            # One copy to the host a batch: the results must leave the device anyway.
            gathered = cast(
                "list[Tensor]", accelerator.gather([column.to(device) for column in columns])
            )
            host = [column.cpu() for column in gathered]
        counts = ~host[-1]
        rows = [column[counts] for column in host[:-1]]
        yield GatheredBatch(
            outputs=rows[0],
            sample_ids=rows[1],
            window_indices=rows[2],
            spans_seconds=rows[3][:, :2],
            middle_seconds=rows[3][:, 2],
            is_substitute=rows[4],
            labels=None if batch.labels is None else rows[5],
            targets=None if batch.targets is None else rows[-1],
        )


def _columns(batch: ClipBatch) -> list[Tensor]:
    """What is known of a batch's clips; padding comes last."""
    times, num_frames = batch.times_seconds, batch.times_seconds.shape[1]
    last = (batch.num_valid_frames - 1).clamp(min=0)[:, None]
    middle = times[:, num_frames // 2, None]
    columns = [
        batch.sample_ids,
        batch.window_indices,
        torch.cat([times[:, :1], times.gather(1, last), middle], dim=1),
        batch.is_substitute,
    ]
    columns += [truth for truth in (batch.labels, batch.targets) if truth is not None]
    return [*columns, batch.is_padding]
