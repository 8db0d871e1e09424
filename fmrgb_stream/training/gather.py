"""This process's outputs -> those of all processes, so that a loss can rank clips across GPUs."""

from __future__ import annotations

from typing import cast

import torch
from accelerate import Accelerator
from torch import Tensor


def gather_with_gradient(
    accelerator: Accelerator, outputs_BN: Tensor, truth: Tensor
) -> tuple[Tensor, Tensor]:
    """Outputs and truth of all processes in rank order; only the own rows carry a gradient.

    Every process takes the same loss of all rows and sends back the gradient of its own. Gradients
    are then averaged over the processes, which would divide that sum by their number; the own rows'
    gradient is multiplied by it beforehand, so the result is that of one process with all clips.
    """
    num_processes = accelerator.num_processes
    if num_processes == 1:
        return outputs_BN, truth
    num_rows, first = len(outputs_BN), accelerator.process_index * len(outputs_BN)
    scaled = outputs_BN * num_processes + (1 - num_processes) * outputs_BN.detach()
    gathered, everyones_truth = cast(
        "tuple[Tensor, Tensor]", accelerator.gather((outputs_BN.detach(), truth))
    )
    everyones = torch.cat([gathered[:first], scaled, gathered[first + num_rows :]])
    return everyones, everyones_truth
