"""Fully connected ends of the models."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import nn


def classifier(num_features: int, num_outputs: int, *, drop_rate: float) -> nn.Sequential:
    """The last layer of most models: dropout and one linear layer."""
    return nn.Sequential(nn.Dropout(drop_rate), nn.Linear(num_features, num_outputs))


def hidden_layers(widths: Sequence[int], *, drop_rate: float) -> nn.Sequential:
    """From the first width to the last: linear, ReLU and dropout for each step."""
    return nn.Sequential(
        *(
            nn.Sequential(nn.Linear(a, b), nn.ReLU(inplace=True), nn.Dropout(drop_rate))
            for a, b in pairwise(widths)
        )
    )
