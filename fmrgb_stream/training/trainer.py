"""Loaders, model and TrainConfig -> trained model and TrainResult: one Accelerate loop.

The loaders are rank-aware themselves (each process gets its own clips), so they never go through
`accelerator.prepare`, which would shard them once more.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, cast

import torch
from accelerate import Accelerator
from rich.console import Console
from torch import Tensor, nn

from fmrgb_stream.config import TrainConfig
from fmrgb_stream.errors import ConfigError
from fmrgb_stream.sample import ClipBatch
from fmrgb_stream.training.evaluation import predict, score, truth_of
from fmrgb_stream.training.gather import loss_over_processes
from fmrgb_stream.training.losses import make_loss, ranks_clips
from fmrgb_stream.training.optimiser import learning_rate_at, make_optimiser
from fmrgb_stream.training.progress import EpochMeter, TrainingBar
from fmrgb_stream.training.records import EpochRecord, Evaluation, MetricsFile, TrainResult


def train(
    model: nn.Module,
    loaders: Loaders,
    *,
    config: TrainConfig,
    metrics: MetricsFile | None = None,
    console: Console | None = None,
    label: str = "training",
) -> TrainResult:
    """Train, keep the best epoch by validation, and evaluate that one once on the test split.

    Afterwards `model` holds the weights of the best epoch. The same seed gives the same result on
    CPU; call `torch.manual_seed` before building the model for the same initial weights.

    Args:
        model: Called as `model(clip, num_valid_frames)`.
        loaders: Not closed here.
        config: Optimiser, schedule, loss and stopping.
        metrics: Gets a line an epoch and one for the test; the first process writes.
        console: Where the progress bar goes; None shows none.
        label: Name of the run: before the bar, and in `metrics`.

    Raises:
        ConfigError: the dataset lacks what the loss needs, or the training loss is not finite.
    """
    run = Run(model, loaders, config=config)
    is_main = run.accelerator.is_main_process
    started, history = time.perf_counter(), list[EpochRecord]()
    best_epoch, best_weights = 0, dict[str, Tensor]()
    with TrainingBar(console if is_main else None, label=label, num_steps=run.num_steps) as bar:
        for epoch in range(config.epochs):
            record = run.epoch(epoch, bar)
            history.append(record)
            if metrics is not None and is_main:
                metrics.write(label, "epoch", record)
            best = _badness(history[best_epoch].val, config)
            if epoch == 0 or _badness(record.val, config) < best:
                best_epoch, best_weights = epoch, run.copy_weights()
            if config.patience is not None and epoch - best_epoch >= config.patience:
                break
    run.load_weights(best_weights)
    test = run.evaluate(loaders.test) if loaders.test is not None else None
    if test is not None and metrics is not None and is_main:
        metrics.write(label, "test", test)
    return TrainResult(
        history=tuple(history),
        best_epoch=best_epoch,
        test=test,
        seconds=time.perf_counter() - started,
        num_parameters=sum(parameter.numel() for parameter in model.parameters()),
    )


def evaluate(model: nn.Module, loader: BatchLoader, *, config: TrainConfig) -> Evaluation:
    """A model on every clip of a loader, once, over all processes."""
    accelerator = Accelerator(mixed_precision=config.mixed_precision)
    model = accelerator.prepare_model(model, evaluation_mode=True)
    return _evaluate(accelerator, model, loader, config)


def _evaluate(
    accelerator: Accelerator, model: nn.Module, loader: BatchLoader, config: TrainConfig
) -> Evaluation:
    classes = config.loss == "cross_entropy"
    outputs, truth = predict(model, loader, accelerator=accelerator, is_classification=classes)
    return score(outputs, truth, loss=make_loss(config), is_classification=classes)


def _badness(evaluation: Evaluation, config: TrainConfig) -> float:
    """What the best epoch has least of; NaN (nothing was ranked) counts as worst."""
    value = evaluation.loss if config.select_by == "loss" else -evaluation.score
    return math.inf if math.isnan(value) else value


class BatchLoader(Protocol):
    """What is needed of a loader; `build_loader` gives one."""

    def __len__(self) -> int:
        """Batches an epoch."""
        ...

    def __iter__(self) -> Iterator[ClipBatch]:
        """The batches of one epoch."""
        ...

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that the next iteration plays."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaders:
    """The splits of one run."""

    train: BatchLoader
    val: BatchLoader
    test: BatchLoader | None = None


class Run:
    """Model, optimiser and loaders of one training, and how far it is."""

    def __init__(self, model: nn.Module, loaders: Loaders, *, config: TrainConfig) -> None:
        """Move the model to this process's device."""
        torch.manual_seed(config.seed)  # dropout; loaders have their own seed
        self.accelerator = Accelerator(mixed_precision=config.mixed_precision)
        self._loaders = loaders
        self._config = config
        self._loss = make_loss(config)
        self._is_classification = config.loss == "cross_entropy"
        self._ranks_clips = ranks_clips(config)
        self._model, self._optimiser = self.accelerator.prepare(
            model, make_optimiser(model, config)
        )
        self.num_steps = config.epochs * len(loaders.train)

    def epoch(self, epoch: int, bar: TrainingBar) -> EpochRecord:
        """Train once over the training split, then validate."""
        self._model.train()
        self._loaders.train.set_epoch(epoch)
        meter = EpochMeter(bar, epoch=epoch, num_processes=self.accelerator.num_processes)
        learning_rate = 0.0
        for batch in meter.timed(self._loaders.train):
            step = epoch * len(self._loaders.train) + meter.num_steps
            learning_rate = learning_rate_at(step, self.num_steps, self._config)
            meter.step(self._step(batch, learning_rate), len(batch))
        clips_per_second, wait_share = meter.clips_per_second, meter.wait_share
        train_loss = float(
            cast("Tensor", self.accelerator.reduce(meter.mean_loss(), reduction="mean"))
        )
        if not math.isfinite(train_loss):
            raise ConfigError(
                f"the training loss of epoch {epoch} is {train_loss}; "
                f"lower lr={self._config.lr} or use mixed_precision='no'"
            )
        return EpochRecord(
            epoch=epoch,
            train_loss=train_loss,
            learning_rate=learning_rate,
            clips_per_second=clips_per_second,
            wait_share=wait_share,
            val=self.evaluate(self._loaders.val),
            seconds=meter.seconds,
        )

    def evaluate(self, loader: BatchLoader) -> Evaluation:
        """The model as it is now on a whole split."""
        return _evaluate(self.accelerator, self._model, loader, self._config)

    def copy_weights(self) -> dict[str, Tensor]:
        """The model's state on the CPU, detached from further training."""
        state = self.accelerator.unwrap_model(self._model).state_dict()
        return {name: value.to("cpu", copy=True) for name, value in state.items()}

    def load_weights(self, weights: dict[str, Tensor]) -> None:
        """Put a copied state back."""
        self.accelerator.unwrap_model(self._model).load_state_dict(weights)

    def _step(self, batch: ClipBatch, learning_rate: float) -> Tensor:
        device, config = self.accelerator.device, self._config
        for group in self._optimiser.param_groups:
            group["lr"] = learning_rate
        truth = truth_of(batch, is_classification=self._is_classification)
        outputs = self._model(
            batch.clip.to(device, non_blocking=True),
            batch.num_valid_frames.to(device, non_blocking=True),
        )
        loss = loss_over_processes(
            self.accelerator,
            self._loss,
            outputs,
            truth.to(device, non_blocking=True),
            counts_B=~batch.is_padding.to(device, non_blocking=True),
            ranks_clips=self._ranks_clips,
        )
        self.accelerator.backward(loss)
        if config.clip_grad_norm is not None:
            self.accelerator.clip_grad_norm_(self._model.parameters(), config.clip_grad_norm)
        self._optimiser.step()
        self._optimiser.zero_grad()
        return loss.detach()
