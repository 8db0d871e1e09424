"""Model and TrainConfig -> Adam or AdamW."""

from __future__ import annotations

import torch
from torch import nn

from fmrgb_stream.config import TrainConfig
from fmrgb_stream.errors import ConfigError


def make_optimiser(model: nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
    """Over every trainable parameter; one-dimensional ones (biases, norms) do not decay.

    Raises:
        ConfigError: everything is frozen.
    """
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if not trained:
        raise ConfigError("the model has no trainable parameter; leave its head unfrozen")
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
    maker = torch.optim.AdamW if config.optimiser == "adamw" else torch.optim.Adam
    return maker([group for group in groups if group["params"]], lr=config.lr)
