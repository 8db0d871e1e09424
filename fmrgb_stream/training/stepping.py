"""Micro-batches -> optimiser steps: one model, its optimiser, and what follows every step."""

from __future__ import annotations

import contextlib
from typing import Any, cast

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast
from torch import Tensor, nn

from fmrgb_stream.config import TrainConfig
from fmrgb_stream.models import model_inputs
from fmrgb_stream.models.interface import CLIP_FIELDS
from fmrgb_stream.sample import ClipBatch
from fmrgb_stream.training.averaging import AveragedWeights
from fmrgb_stream.training.gather import loss_and_weight, step_scale
from fmrgb_stream.training.losses import make_loss, ranks_clips
from fmrgb_stream.training.optimiser import make_optimiser
from fmrgb_stream.training.schedule import make_schedule
from fmrgb_stream.training.step_profile import StageClock
from fmrgb_stream.training.truth import is_known, truth_of, without_gaps


class Stepper:
    """A model in training. The same calls must be made in every process."""

    def __init__(
        self,
        model: nn.Module,
        *,
        config: TrainConfig,
        accelerator: Accelerator,
        steps_per_epoch: int,
        clock: StageClock,
    ) -> None:
        """Move the model to this process's device, and wrap it for several processes."""
        self._config, self._accelerator, self._clock = config, accelerator, clock
        self._batch_fields = getattr(model, "batch_fields", CLIP_FIELDS)
        self._loss, self._ranks_clips = make_loss(config), ranks_clips(config)
        # Copied before anything wraps the model's forward.
        self._average = (
            None
            if config.ema_decay is None
            else AveragedWeights(model.to(accelerator.device), decay=config.ema_decay)
        )
        if config.compile:
            model.compile()  # in place: names of weights stay
        optimiser = make_optimiser(model, config)
        self._schedule = make_schedule(optimiser, config, steps_per_epoch=steps_per_epoch)
        # Gradients meet only as long as what `prepare` returned lives.
        self._prepared, self._optimiser = accelerator.prepare(model, optimiser)
        self._model: nn.Module = accelerator.unwrap_model(self._prepared)
        self._value = self._weight = torch.zeros((), device=accelerator.device)
        self._num_clips_a_batch = 0

    @property
    def evaluated(self) -> nn.Module:
        """The model that is validated and kept: the average of weights where there is one."""
        return self._model if self._average is None else self._average.model

    @property
    def learning_rate(self) -> float:
        """Of the last step."""
        return self._optimiser.param_groups[0]["lr"]

    @property
    def num_averaged(self) -> int:
        """Steps in the average."""
        return 0 if self._average is None else self._average.num_updates

    def train(self) -> None:
        """Dropout and batch statistics as in training."""
        self._prepared.train()

    def take(self, batch: ClipBatch, *, is_last: bool) -> None:
        """Go forward and backward with one micro-batch; the last one of a step meets the others."""
        device = self._accelerator.device
        inputs = model_inputs(batch, self._batch_fields, device=device)
        truth = truth_of(batch, loss=self._config.loss).to(device, non_blocking=True)
        counts_B = ~batch.is_padding.to(device, non_blocking=True) & is_known(truth)
        self._clock.mark("to_device")
        with contextlib.nullcontext() if is_last else self._accelerator.no_sync(self._prepared):
            outputs = self._prepared(*inputs)
            value, weight = loss_and_weight(
                self._accelerator,
                self._loss,
                outputs,
                without_gaps(truth),
                counts_B=counts_B,
                ranks_clips=self._ranks_clips,
            )
            part = value * (weight / len(batch))
            self._clock.mark("forward")
            self._accelerator.backward(part)
        self._value = self._value + value.detach() * weight
        self._weight = self._weight + weight
        self._num_clips_a_batch = len(batch)
        self._clock.mark("backward")

    def finish(self, step: int) -> Tensor:
        """Take optimiser step number `step`, from 0; its loss, a scalar that stays on the device.

        Averaged over the processes it is the loss over all clips of the step that count.
        """
        scale = step_scale(self._accelerator, self._weight)
        gradients = [p.grad for p in self._model.parameters() if p.grad is not None]
        torch._foreach_mul_(gradients, scale * self._num_clips_a_batch)  # pyright: ignore[reportPrivateUsage, reportPrivateImportUsage] (torch's optimisers use it)
        loss = self._value * scale
        self._value = self._weight = torch.zeros((), device=self._accelerator.device)
        self._schedule.step_update(step)
        if self._config.clip_grad_norm is not None:
            self._accelerator.clip_grad_norm_(
                self._prepared.parameters(), self._config.clip_grad_norm
            )
        self._optimiser.step()
        self._optimiser.zero_grad()
        if self._average is not None:
            self._average.update(self._model)
        self._clock.mark("optimiser")
        return loss

    def agree(self) -> None:
        """Give all processes the first one's batch statistics, which are each process's own."""
        if self._accelerator.num_processes > 1:
            for buffer in self.evaluated.buffers():
                broadcast(buffer)

    def states(self) -> dict[str, Any]:
        """Of optimiser, schedule and gradient scaler."""
        scaler = self._accelerator.scaler
        return {
            "optimiser": self._optimiser.state_dict(),
            "schedule": self._schedule.state_dict(),
            "scaler": None if scaler is None else scaler.state_dict(),
        }

    def weights(self) -> tuple[dict[str, Tensor], dict[str, Tensor] | None]:
        """Copies on the CPU of the weights, and of their average."""
        average = None if self._average is None else copy_weights(self._average.model)
        return copy_weights(self._model), average

    def load(
        self,
        weights: dict[str, Tensor],
        average: dict[str, Tensor] | None,
        states: dict[str, Any],
        *,
        num_averaged: int,
    ) -> None:
        """Put everything back."""
        self._model.load_state_dict(weights)
        if self._average is not None:
            self._average.model.load_state_dict(cast("dict[str, Tensor]", average))
            self._average.num_updates = num_averaged
        self._optimiser.load_state_dict(states["optimiser"])
        self._schedule.load_state_dict(states["schedule"])
        if self._accelerator.scaler is not None:
            self._accelerator.scaler.load_state_dict(states["scaler"])

    def load_best(self, weights: dict[str, Tensor]) -> None:
        """Leave these weights in the model that was given, and in the one that is evaluated."""
        self._model.load_state_dict(weights)
        self.evaluated.load_state_dict(weights)


def copy_weights(model: nn.Module) -> dict[str, Tensor]:
    """The model's state on the CPU, detached from further training, in the plain memory order."""
    return {
        name: value.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, value in model.state_dict().items()
    }
