"""TrainConfig -> the learning rate of every step: timm's schedules, counted in optimiser steps."""

from __future__ import annotations

import math
from functools import partial
from typing import Any, Protocol

import torch
from timm.scheduler.cosine_lr import CosineLRScheduler
from timm.scheduler.poly_lr import PolyLRScheduler
from timm.scheduler.step_lr import StepLRScheduler
from timm.scheduler.tanh_lr import TanhLRScheduler

from fmrgb_stream.config import TrainConfig


class LearningRateSchedule(Protocol):
    """What is needed of timm's schedules."""

    def step_update(self, num_updates: int) -> None:
        """Set the learning rate of the step with this number, from 0."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        ...

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Put it back."""
        ...


def make_schedule(
    optimiser: torch.optim.Optimizer, config: TrainConfig, *, steps_per_epoch: int
) -> LearningRateSchedule:
    """The schedule that `config.schedule` names, behind a linear warm-up.

    The first step has a part of `config.lr` already, one over the number of warm-up steps. `step`
    and `constant` count from the end of the warm-up too.
    """
    num_steps = config.epochs * steps_per_epoch
    num_warmup = min(math.ceil(config.warmup_fraction * num_steps), num_steps - 1)
    rest = num_steps - num_warmup
    step_rule = partial(StepLRScheduler, decay_t=config.decay_epochs * steps_per_epoch)
    makers = {
        "cosine": partial(CosineLRScheduler, t_initial=rest),
        "tanh": partial(TanhLRScheduler, t_initial=rest),
        "poly": partial(PolyLRScheduler, t_initial=rest),
        "step": partial(step_rule, decay_rate=config.decay_factor),
        "constant": partial(step_rule, decay_rate=1.0),
    }
    return makers[config.schedule](
        optimiser,
        warmup_t=num_warmup,
        warmup_lr_init=config.lr / max(num_warmup, 1),
        warmup_prefix=True,
        t_in_epochs=False,
    )
