"""One training and how far it is: epochs of steps, validation, the best so far, snapshots."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import cast

import torch
from accelerate.utils import broadcast_object_list, gather_object
from torch import Tensor, nn

from fmrgb_stream.config import TrainConfig
from fmrgb_stream.errors import ConfigError
from fmrgb_stream.training.acceleration import check_even
from fmrgb_stream.training.checkpoint import Progress, Snapshot
from fmrgb_stream.training.evaluation import evaluate_on
from fmrgb_stream.training.loaders import BatchLoader, HasPosition, Loaders
from fmrgb_stream.training.progress import TrainingBar
from fmrgb_stream.training.random_state import random_state, restore_random_state, seed_process
from fmrgb_stream.training.recorder import Recorder
from fmrgb_stream.training.records import EpochRecord, Evaluation, StepProfile, StepRecord
from fmrgb_stream.training.step_profile import StageClock
from fmrgb_stream.training.stepping import Stepper, copy_weights


class Diverged(ConfigError):
    """The training loss is no finite number any more."""


@dataclass(kw_only=True)
class Best:
    """The best epoch so far."""

    badness: float = math.inf
    epoch: int | None = None
    step: int | None = None
    weights: dict[str, Tensor] | None = None


class Run:
    """Model, optimiser and loaders of one training, and how far it is."""

    def __init__(
        self, model: nn.Module, loaders: Loaders, *, config: TrainConfig, recorder: Recorder
    ) -> None:
        """Move the model to this process's device.

        Raises:
            ConfigError: processes would wait for each other for ever, or there is nothing to train.
        """
        self.accelerator = recorder.accelerator
        self._loaders, self._config, self._recorder = loaders, config, recorder
        self.steps_per_epoch = len(loaders.train) // config.accumulation
        check_even(self.steps_per_epoch)
        seed_process(config.seed, rank=self.accelerator.process_index)
        self._clock = StageClock(self.accelerator.device)
        self._stepper = Stepper(
            model,
            config=config,
            accelerator=self.accelerator,
            steps_per_epoch=self.steps_per_epoch,
            clock=self._clock,
        )
        self.num_epochs = config.epochs
        self.num_parameters = sum(parameter.numel() for parameter in model.parameters())
        self.history: list[EpochRecord] = []
        self.best = Best()
        self.step = self.epoch = 0
        self.is_over = False
        self._losses: list[float] = []
        self._waiting: list[tuple[Tensor, float]] = []

    def play_epoch(self, bar: TrainingBar) -> EpochRecord:
        """Train to the end of the epoch, validate, and keep what is best and what is needed."""
        started = time.perf_counter()
        self._clock.reset()
        num_clips = self._train(bar)
        profiles = self._profiles(num_clips)
        record = EpochRecord(
            epoch=self.epoch,
            train_loss=math.fsum(self._losses) / len(self._losses),
            learning_rate=self._stepper.learning_rate,
            clips_per_second=sum(profile.clips_per_second for profile in profiles),
            wait_share=sum(profile.wait_share for profile in profiles) / len(profiles),
            val=self._validate(),
            seconds=time.perf_counter() - started,
            step=self.step,
            profiles=tuple(profiles),
        )
        self.history.append(record)
        self._recorder.epoch(record)
        self._decide(record)
        self.epoch += 1
        self._losses.clear()
        if self._recorder.saves:
            self._loaders.train.set_epoch(self.epoch)
            self._save()
        return record

    @property
    def evaluated(self) -> nn.Module:
        """The model that `evaluate` asks."""
        return self._stepper.evaluated

    def evaluate(self, loader: BatchLoader) -> Evaluation:
        """The model as it is now on a whole split."""
        return evaluate_on(
            self.evaluated, loader, accelerator=self.accelerator, config=self._config
        )

    def finish(self) -> None:
        """Leave the best epoch's weights in the model."""
        if self.best.weights is not None:
            self._stepper.load_best(self.best.weights)

    def restore(
        self, snapshot: Snapshot, *, history: list[EpochRecord], best: dict[str, Tensor] | None
    ) -> None:
        """Go to where a run of the same settings stood.

        Args:
            snapshot: Of that run.
            history: Its epochs so far.
            best: The weights of its best one; None before the first validation.
        """
        progress = snapshot.progress
        self._stepper.load(
            snapshot.model, snapshot.ema, snapshot.optimiser, num_averaged=progress.num_averaged
        )
        self.step, self.epoch, self.is_over = progress.step, progress.epoch, progress.is_over
        self._losses, self.history = [*progress.step_losses], history
        if progress.best_epoch is not None:
            self.best = Best(
                badness=badness(history[progress.best_epoch].val, self._config),
                epoch=progress.best_epoch,
                step=progress.best_step,
                weights=best,
            )
        if progress.loader is not None and isinstance(self._loaders.train, HasPosition):
            self._loaders.train.load_state_dict({**progress.loader})
        rank = self.accelerator.process_index
        if progress.num_processes == self.accelerator.num_processes:
            restore_random_state(snapshot.ranks[rank], self.accelerator.device)
        else:
            # Other processes drop other places; the order of clips stays what it was.
            seed_process(self._config.seed + self.step, rank=rank)

    def _train(self, bar: TrainingBar) -> int:
        """The rest of the epoch's steps; the clips that this process took."""
        settings, config = self._recorder.settings, self._config
        self._stepper.train()
        self._loaders.train.set_epoch(self.epoch)
        num_clips, num_batches = 0, 0
        num_wanted = (self.steps_per_epoch - len(self._losses)) * config.accumulation
        self._clock.begin()
        for batch in self._loaders.train if num_wanted else ():
            self._clock.mark("wait")
            num_batches, num_clips = num_batches + 1, num_clips + len(batch)
            is_last = num_batches % config.accumulation == 0
            self._stepper.take(batch, is_last=is_last)
            if is_last:
                self._finish_step()
                bar.advance()
            is_end = num_batches == num_wanted
            if is_end or (is_last and self.step % settings.log_every_steps == 0):
                self._settle(bar)
            if is_end:
                break
            if is_last and self._is_save_due():
                self._settle(bar)
                self._save()
                self._clock.begin()
            self._clock.mark("other")
        if num_batches != num_wanted:
            raise ConfigError(
                f"the training loader ended after {num_batches} of {num_wanted} batches; its len() "
                "must be what it gives"
            )
        return num_clips

    def _finish_step(self) -> None:
        loss = self._stepper.finish(self.step)
        self._waiting.append((loss, self._stepper.learning_rate))
        self.step += 1

    def _settle(self, bar: TrainingBar) -> None:
        """Read the losses of the last steps: the only time that a step waits for the device."""
        if not self._waiting:
            return
        losses = torch.stack([loss for loss, _ in self._waiting])
        everyones = cast("Tensor", self.accelerator.reduce(losses, reduction="mean")).tolist()
        first = self.step - len(everyones)
        records = [
            StepRecord(step=first + i + 1, epoch=self.epoch, loss=loss, learning_rate=rate)
            for i, (loss, (_, rate)) in enumerate(zip(everyones, self._waiting, strict=True))
        ]
        self._waiting.clear()
        self._losses.extend(everyones)
        self._clock.settle()
        self._recorder.steps(records)
        bar.show(epoch=self.epoch, loss=everyones[-1])
        for record in records:
            if not math.isfinite(record.loss):
                raise Diverged(
                    f"the training loss of step {record.step} is {record.loss}; "
                    f"lower lr={self._config.lr} or use mixed_precision='no'"
                )

    def _profiles(self, num_clips: int) -> list[StepProfile]:
        own = self._clock.profile(rank=self.accelerator.process_index, num_clips=num_clips)
        return gather_object([own])

    def _validate(self) -> Evaluation:
        self._stepper.agree()
        return self.evaluate(self._loaders.val)

    def _decide(self, record: EpochRecord) -> None:
        """Whether this epoch is the best, and whether it is the last: as the first process says."""
        value, config = badness(record.val, self._config), self._config
        is_best = self.best.epoch is None or value < self.best.badness
        best_epoch = record.epoch if is_best else self.best.epoch or 0
        out_of_patience = (
            config.patience is not None and record.epoch - best_epoch >= config.patience
        )
        decision = [is_best, out_of_patience or record.epoch + 1 == config.epochs]
        broadcast_object_list(decision)
        is_best, self.is_over = decision
        if is_best:
            weights = copy_weights(self._stepper.evaluated)
            self.best = Best(badness=value, epoch=record.epoch, step=self.step, weights=weights)
            self._recorder.best(weights)

    def _is_save_due(self) -> bool:
        every = self._recorder.settings.checkpoint_every_steps
        return self._recorder.saves and every is not None and self.step % every == 0

    def _save(self) -> None:
        """Snapshot of all processes; the first one writes it."""
        ranks = gather_object([random_state(self.accelerator.device)])
        if not self.accelerator.is_main_process:
            return
        loader = self._loaders.train
        model, average = self._stepper.weights()
        progress = Progress(
            step=self.step,
            epoch=self.epoch,
            step_losses=tuple(self._losses),
            loader=loader.state_dict() if isinstance(loader, HasPosition) else None,
            num_processes=self.accelerator.num_processes,
            num_averaged=self._stepper.num_averaged,
            best_epoch=self.best.epoch,
            best_step=self.best.step,
            is_over=self.is_over,
        )
        self._recorder.checkpoint(
            Snapshot(
                progress=progress,
                model=model,
                ema=average,
                optimiser=self._stepper.states(),
                ranks=ranks,
            )
        )


def badness(evaluation: Evaluation, config: TrainConfig) -> float:
    """What the best epoch has least of; NaN (nothing was ranked) counts as worst."""
    value = evaluation.loss if config.select_by == "loss" else -evaluation.score
    return math.inf if math.isnan(value) else value
