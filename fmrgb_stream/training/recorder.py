"""What happens in a run -> metrics.jsonl, trackers, checkpoints and weights, by the first process."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from accelerate import Accelerator
from torch import Tensor

from fmrgb_stream.config import RecordConfig
from fmrgb_stream.training.checkpoint import (
    Snapshot,
    drop_later,
    prune_checkpoints,
    save_checkpoint,
    save_weights,
)
from fmrgb_stream.training.metrics_file import Event, MetricsFile
from fmrgb_stream.training.records import EpochRecord, Evaluation, StepRecord
from fmrgb_stream.training.run_directory import RunDirectory


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorder:
    """Where a run's numbers and states go; every part may be absent."""

    accelerator: Accelerator
    label: str = "training"
    """Name of the run in `metrics`."""
    settings: RecordConfig = field(default_factory=RecordConfig)
    metrics: MetricsFile | None = None
    directory: RunDirectory | None = None
    """Gets checkpoints and weights."""

    @property
    def saves(self) -> bool:
        """Whether there are checkpoints."""
        return self.directory is not None

    def resume_at(self, step: int) -> None:
        """Forget what was recorded after a step: it comes again."""
        if not self.accelerator.is_main_process:
            return
        if self.metrics is not None:
            self.metrics.keep_until(step)
        if self.directory is not None:
            drop_later(self.directory.checkpoints_path, step)

    def steps(self, records: Sequence[StepRecord]) -> None:
        """Some optimiser steps are done."""
        if self.accelerator.is_main_process and self.metrics is not None:
            self.metrics.write_all(self.label, "step", records)
        for record in records:
            self.accelerator.log(
                {"train/loss": record.loss, "train/learning_rate": record.learning_rate},
                step=record.step,
            )

    def epoch(self, record: EpochRecord) -> None:
        """An epoch and its validation are done."""
        if self.accelerator.is_main_process and self.metrics is not None:
            self.metrics.write(self.label, "epoch", record)
        self.accelerator.log(
            {
                "val/loss": record.val.loss,
                f"val/{record.val.score_name}": record.val.score,
                "speed/clips_per_second": record.clips_per_second,
                "speed/wait_share": record.wait_share,
            },
            step=record.step,
        )

    def evaluation(self, event: Event, evaluation: Evaluation, *, step: int) -> None:
        """The best weights were tried."""
        if self.accelerator.is_main_process and self.metrics is not None:
            self.metrics.write(self.label, event, evaluation)
        self.accelerator.log(
            {
                f"{event}/loss": evaluation.loss,
                f"{event}/{evaluation.score_name}": evaluation.score,
            },
            step=step,
        )

    def checkpoint(self, snapshot: Snapshot) -> None:
        """Keep a snapshot, and remove those that are not needed any more."""
        if self.directory is None or not self.accelerator.is_main_process:
            return
        folder = self.directory.checkpoints_path
        save_checkpoint(folder, snapshot)
        prune_checkpoints(
            folder, keep_last=self.settings.keep_last, best_step=snapshot.progress.best_step
        )

    def best(self, weights: dict[str, Tensor]) -> None:
        """These are the best weights so far."""
        if self.directory is not None and self.accelerator.is_main_process:
            save_weights(self.directory.weights_path, weights)
