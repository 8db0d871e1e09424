"""This process's outputs -> the loss of all processes' clips, as if one process had them all."""

from __future__ import annotations

from typing import cast

import torch
from accelerate import Accelerator
from torch import Tensor

from fmrgb_stream.training.losses import Loss


def loss_over_processes(
    accelerator: Accelerator,
    loss: Loss,
    outputs: Tensor,
    truth: Tensor,
    *,
    counts_B: Tensor | None = None,
    ranks_clips: bool,
) -> Tensor:
    """The loss to go backward from, which gives every process the gradient of one with all clips.

    Averaged over the processes its value is the loss over all clips that count.

    Args:
        accelerator: Knows the other processes; each must have as many clips.
        loss: As `make_loss` gives it.
        outputs: float [B, K] of this process's clips.
        truth: Of the same clips.
        counts_B: bool [B]: False for padding, which never counts; None counts all.
        ranks_clips: The loss compares clips with each other, so it needs those of all processes.
    """
    if counts_B is None:
        counts_B = torch.ones(len(outputs), dtype=torch.bool, device=outputs.device)
    if ranks_clips:
        return loss(*gather_with_gradient(accelerator, outputs, truth, counts_B))
    if accelerator.num_processes == 1:
        return loss(outputs, truth, counts_B)
    num_counting = counts_B.sum(dtype=torch.float32)
    everyones = cast("Tensor", accelerator.reduce(num_counting, reduction="sum")).clamp(min=1)
    share = num_counting * accelerator.num_processes / everyones
    return loss(outputs, truth, counts_B) * share


def gather_with_gradient(
    accelerator: Accelerator, outputs: Tensor, *truths: Tensor
) -> tuple[Tensor, ...]:
    """Outputs and truths of all processes in rank order; only the own rows carry a gradient.

    Every process takes the same loss of all rows and sends back the gradient of its own. Gradients
    are then averaged over the processes, which would divide that sum by their number; the own rows'
    gradient is multiplied by it beforehand, so the result is that of one process with all clips.
    """
    num_processes = accelerator.num_processes
    if num_processes == 1:
        return outputs, *truths
    num_rows, first = len(outputs), accelerator.process_index * len(outputs)
    scaled = outputs * num_processes + (1 - num_processes) * outputs.detach()
    gathered, *everyones = cast(
        "tuple[Tensor, ...]", accelerator.gather((outputs.detach(), *truths))
    )
    rows = torch.cat([gathered[:first], scaled, gathered[first + num_rows :]])
    return rows, *everyones
