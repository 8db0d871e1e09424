"""Weights after every step -> their exponential moving average."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn


class AveragedWeights:
    """A second model whose weights follow those of the first: `a = d a + (1 - d) w`.

    In the first steps d is `(1 + n) / (10 + n)` at most (as TensorFlow's moving average), so that the
    initial weights are soon forgotten. Numbers that are not floats, counters of batches, are copied.
    """

    def __init__(self, model: nn.Module, *, decay: float, num_updates: int = 0) -> None:
        """Begin with the weights as they are."""
        self.model = copy.deepcopy(model).eval().requires_grad_(requires_grad=False)
        self.num_updates = num_updates
        self._decay = decay

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Take in the weights after one step."""
        decay = min(self._decay, (1 + self.num_updates) / (10 + self.num_updates))
        self.num_updates += 1
        own, new = _values(self.model), _values(model)
        floats = [i for i, value in enumerate(own) if value.is_floating_point()]
        average = get_ema_multi_avg_fn(decay)
        average([own[i] for i in floats], [new[i] for i in floats], self.num_updates)
        for i in set(range(len(own))) - set(floats):
            own[i].copy_(new[i])


def _values(model: nn.Module) -> list[Tensor]:
    return [*model.parameters(), *model.buffers()]
