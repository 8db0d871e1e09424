"""Model and TrainConfig -> AdamW and its learning rate at every step."""

from __future__ import annotations

import math

import torch
from torch import nn

from fmrgb_stream.config import TrainConfig


def make_optimiser(model: nn.Module, config: TrainConfig) -> torch.optim.AdamW:
    """AdamW over every trainable parameter; one-dimensional ones (biases, norms) do not decay."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {
            "params": [parameter for parameter in trained if parameter.ndim > 1],
            "weight_decay": config.weight_decay,
        },
        {
            "params": [parameter for parameter in trained if parameter.ndim <= 1],
            "weight_decay": 0.0,
        },
    ]
    return torch.optim.AdamW([group for group in groups if group["params"]], lr=config.lr)


def learning_rate_at(step: int, num_steps: int, config: TrainConfig) -> float:
    """The learning rate of a step counted from 0: a pure function, so that resuming needs no state.

    Rises linearly over the warm-up and reaches `config.lr` at its last step; `cosine` then falls
    towards 0 as `lr * (1 + cos(pi * done)) / 2`, with `done` the share of the remaining steps.
    """
    num_warmup = math.ceil(config.warmup_fraction * num_steps)
    if step < num_warmup:
        return config.lr * (step + 1) / num_warmup
    if config.schedule == "constant":
        return config.lr
    done = (step - num_warmup) / max(1, num_steps - num_warmup)
    return config.lr * (1 + math.cos(math.pi * min(done, 1.0))) / 2
