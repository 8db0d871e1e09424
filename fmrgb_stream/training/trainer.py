"""Loaders, model and TrainConfig -> trained model and TrainResult: one Accelerate loop.

The loaders are rank-aware themselves (each process gets its own clips); `accelerator.prepare` would
leave them as they are.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from rich.console import Console
from torch import Tensor, nn

from fmrgb_stream.config import TrainConfig
from fmrgb_stream.training.acceleration import make_accelerator
from fmrgb_stream.training.checkpoint import Snapshot, best_weights_in, checkpoint_path
from fmrgb_stream.training.evaluation import evaluate_on
from fmrgb_stream.training.loaders import BatchLoader, Loaders
from fmrgb_stream.training.metrics_file import MetricsFile, read_metrics
from fmrgb_stream.training.progress import TrainingBar
from fmrgb_stream.training.recorder import Recorder
from fmrgb_stream.training.records import EpochRecord, Evaluation, TrainResult
from fmrgb_stream.training.run import Run

__all__ = ["BatchLoader", "Loaders", "evaluate", "train"]


def train(
    model: nn.Module,
    loaders: Loaders,
    *,
    config: TrainConfig,
    metrics: MetricsFile | None = None,
    console: Console | None = None,
    label: str = "training",
    on_epoch: Callable[[EpochRecord], None] | None = None,
) -> TrainResult:
    """Train, keep the best epoch by validation, and evaluate that one once on the test split.

    Afterwards `model` holds the weights of the best epoch. The same seed gives the same result on
    CPU; call `torch.manual_seed` before building the model for the same initial weights.

    Args:
        model: Called as `model(clip, num_valid_frames)`, or with what its `batch_fields` name.
        loaders: Not closed here.
        config: Optimiser, schedule, loss and stopping.
        metrics: Gets a line a step, an epoch and the test; the first process writes.
        console: Where the progress bar goes; None shows none.
        label: Name of the run: before the bar, and in `metrics`.
        on_epoch: Told of every epoch, in every process.

    Raises:
        ConfigError: the dataset lacks what the loss needs, or the training loss is not finite.
    """
    accelerator = make_accelerator(mixed_precision=config.mixed_precision)
    recorder = Recorder(accelerator=accelerator, label=label, metrics=metrics)
    run = Run(model, loaders, config=config, recorder=recorder)
    return play(run, loaders, recorder=recorder, console=console, on_epoch=on_epoch)


def evaluate(model: nn.Module, loader: BatchLoader, *, config: TrainConfig) -> Evaluation:
    """A model on every clip of a loader, once, over all processes."""
    accelerator = make_accelerator(mixed_precision=config.mixed_precision)
    return evaluate_on(model.to(accelerator.device), loader, accelerator=accelerator, config=config)


def play(
    run: Run,
    loaders: Loaders,
    *,
    recorder: Recorder,
    console: Console | None = None,
    on_epoch: Callable[[EpochRecord], None] | None = None,
) -> TrainResult:
    """The epochs that are left, and the test of the best one."""
    started, is_main = time.perf_counter(), recorder.accelerator.is_main_process
    num_steps = run.num_epochs * run.steps_per_epoch
    with TrainingBar(
        console if is_main else None, label=recorder.label, num_steps=num_steps
    ) as bar:
        bar.advance(run.step)
        while not run.is_over:
            record = run.play_epoch(bar)
            if on_epoch is not None:
                on_epoch(record)
    run.finish()
    test = run.evaluate(loaders.test) if loaders.test is not None else None
    if test is not None:
        recorder.evaluation("test", test, step=run.step)
    return TrainResult(
        history=tuple(run.history),
        best_epoch=run.best.epoch or 0,
        test=test,
        seconds=time.perf_counter() - started,
        num_parameters=run.num_parameters,
    )


def restore(run: Run, snapshot: Snapshot, recorder: Recorder) -> None:
    """Put a new run to where one of the same settings stood, and forget what came after."""
    if recorder.directory is None or recorder.metrics is None:
        raise AssertionError("only a run with a directory can be resumed")
    progress = snapshot.progress
    recorder.accelerator.wait_for_everyone()
    recorder.resume_at(progress.step)
    recorder.accelerator.wait_for_everyone()
    history = [
        record
        for _, record in read_metrics(recorder.metrics.path, run=recorder.label)
        if isinstance(record, EpochRecord)
    ]
    best: dict[str, Tensor] | None = None
    if progress.best_step == progress.step:
        best = snapshot.best_weights
    elif progress.best_step is not None:
        folder = checkpoint_path(recorder.directory.checkpoints_path, progress.best_step)
        best = best_weights_in(folder)
    if best is not None:
        recorder.best(best)
    run.restore(snapshot, history=history, best=best)
