"""What a training run leaves behind, as frozen records. The file they go to: `metrics_file.py`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from fmrgb_stream.training.metrics import ClassScores, LabelScores, TargetScores

ScoreName = Literal["accuracy", "spearman"]
Scores = ClassScores | LabelScores | TargetScores


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """A model on a whole split, padding left out, all processes together."""

    loss: float
    score: float
    """Accuracy, or Spearman's correlation averaged over targets (NaN when one ranks nothing)."""
    score_name: ScoreName
    num_clips: int
    scores: Scores | None = None
    """Everything that was counted, clip by clip."""
    by_sample: Scores | None = None
    """The same of the outputs averaged over each sample's windows; None where a sample is one clip."""

    @property
    def confusion(self) -> tuple[tuple[int, ...], ...] | None:
        """Clips by true class (row) and predicted class (column); None for other than classes."""
        return self.scores.confusion if isinstance(self.scores, ClassScores) else None

    @property
    def spearman_by_target(self) -> tuple[float, ...] | None:
        """None for other than targets."""
        return self.scores.spearman_by_target if isinstance(self.scores, TargetScores) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class StepProfile:
    """Where the training time of one process went in one epoch."""

    rank: int
    num_clips: int
    seconds: float
    """Of the training steps, validation and checkpoints not counted."""
    wait_seconds: float
    """For the loader: on a GPU the time that it had nothing to do for want of a batch."""
    to_device_seconds: float
    forward_seconds: float
    """Loss too."""
    backward_seconds: float
    """Exchange of gradients among processes too."""
    optimiser_seconds: float
    """Clipping and averaging of weights too."""

    @property
    def clips_per_second(self) -> float:
        """Of this process."""
        return self.num_clips / self.seconds if self.seconds else 0.0

    @property
    def wait_share(self) -> float:
        """0..1."""
        return self.wait_seconds / self.seconds if self.seconds else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRecord:
    """One optimiser step."""

    step: int
    """Steps so far, this one too."""
    epoch: int
    loss: float
    """Over all clips of the step that count, whatever process had them."""
    learning_rate: float


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochRecord:
    """One epoch of training and the validation after it."""

    epoch: int
    """From 0."""
    train_loss: float
    """Mean over the steps."""
    learning_rate: float
    """At the last step."""
    clips_per_second: float
    """All processes together, validation not counted."""
    wait_share: float
    """Part of the training time spent waiting for the loader, 0..1, the mean of all processes."""
    seconds: float
    """Training and validation, since the epoch began or the run went on."""
    val: Evaluation
    step: int = 0
    """Optimiser steps so far, those of this epoch too."""
    profiles: tuple[StepProfile, ...] = ()
    """One a process."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainResult:
    """A finished run; the model holds the weights of `best_epoch`."""

    history: tuple[EpochRecord, ...]
    best_epoch: int
    test: Evaluation | None
    """The best epoch's weights on the test split; None without one."""
    seconds: float
    """Since the run began or went on."""
    num_parameters: int

    @property
    def best(self) -> EpochRecord:
        """The record of `best_epoch`."""
        return self.history[self.best_epoch]
