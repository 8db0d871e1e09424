"""This process's outputs -> the loss of all processes' clips, as if one process had them all.

A step may also take its clips in several micro-batches. Each process goes backward from `value * weight / B`
for every micro-batch of B clips; averaged over the P processes that is the sum over all clips that count,
divided by P B; `step_scale` makes a mean of it.
"""

from __future__ import annotations

from typing import cast

import torch
from accelerate import Accelerator
from torch import Tensor

from fmrgb_stream.training.losses import Loss


def loss_and_weight(
    accelerator: Accelerator,
    loss: Loss,
    outputs: Tensor,
    truth: Tensor,
    *,
    counts_B: Tensor,
    ranks_clips: bool,
) -> tuple[Tensor, Tensor]:
    """The loss of one micro-batch, and for how many clips it speaks.

    Args:
        accelerator: Knows the other processes; each must have as many clips.
        loss: As `make_loss` gives it.
        outputs: float [B, K] of this process's clips.
        truth: Of the same clips.
        counts_B: bool [B]: False for what never counts: padding, clips without truth.
        ranks_clips: The loss compares clips with each other, so it needs those of all processes.
            With several micro-batches, clips are compared within each.
    """
    if not ranks_clips:
        return loss(outputs, truth, counts_B), counts_B.sum(dtype=torch.float32)
    outputs, truth, counts_B = gather_with_gradient(accelerator, outputs, truth, counts_B)
    everyones = counts_B.sum(dtype=torch.float32)
    return loss(outputs, truth, counts_B), everyones / accelerator.num_processes


def step_scale(accelerator: Accelerator, weight: Tensor) -> Tensor:
    """What brings a step's sums over clips to means, as a scalar on the device.

    Args:
        accelerator: Knows the other processes.
        weight: Sum over this process's micro-batches.

    Returns:
        P divided by the number of clips that count, in all processes and micro-batches.
    """
    everyones = cast("Tensor", accelerator.reduce(weight, reduction="sum"))
    return accelerator.num_processes / everyones.clamp(min=1)


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
