"""RunConfig and a folder -> a trained run in that folder; begun anew, or taken up where it stopped."""

from __future__ import annotations

import os
from collections.abc import Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from rich.console import Console

from fmrgb_stream.config import Modality, RunConfig
from fmrgb_stream.errors import ConfigError
from fmrgb_stream.loader import ClipLoader
from fmrgb_stream.models import ClipModel
from fmrgb_stream.shards import Manifest
from fmrgb_stream.training.acceleration import make_accelerator, tracker_names
from fmrgb_stream.training.build import (
    build_model,
    check_splits,
    open_loader,
    outputs_for,
    read_manifest,
    with_extras,
)
from fmrgb_stream.training.checkpoint import load_checkpoint_folder
from fmrgb_stream.training.loaders import Loaders
from fmrgb_stream.training.metrics_file import MetricsFile
from fmrgb_stream.training.progress import epoch_lines
from fmrgb_stream.training.recorder import Recorder
from fmrgb_stream.training.records import EpochRecord, Evaluation, TrainResult
from fmrgb_stream.training.resuming import checkpoint_to_take, flat_config
from fmrgb_stream.training.run import Run
from fmrgb_stream.training.run_directory import RunDirectory, RunFacts
from fmrgb_stream.training.trainer import play, restore


def train_run(
    config: RunConfig,
    out: str | os.PathLike[str],
    *,
    resume: bool = False,
    checkpoint: Path | None = None,
    overwrite: bool = False,
    console: Console | None = None,
) -> RunResult:
    """Build model and loaders, train, test, and keep everything in a run directory.

    Call it in every process that `accelerate launch` or torchrun began.

    Args:
        config: All of it.
        out: Run directory; see `run_directory.py`. All processes must see it.
        resume: Go on with the run that is there.
        checkpoint: Go on from this checkpoint of it instead of the newest.
        overwrite: Begin anew although a run is there.
        console: For bar and lines of the first process; None is silent.

    Raises:
        ConfigError: settings cannot work, or are not those of the run that is to go on; or a run is
            there that is neither to go on nor to be overwritten.
    """
    directory = RunDirectory(path=Path(out))
    accelerator = make_accelerator(
        mixed_precision=config.train.mixed_precision,
        device=config.data.device,
        trackers=tracker_names(config.record.trackers),
        folder=directory.path,
    )
    shown = console if accelerator.is_main_process else None
    with _torch_threads(config.num_torch_threads), ExitStack() as stack:
        manifest = read_manifest(config)
        check_splits(config, manifest)
        model = build_model(config, manifest)
        config = with_extras(config, model)
        _check_modality(model, config.model.test_modality)
        found = checkpoint_to_take(
            directory, config, resume=resume, wanted=checkpoint, overwrite=overwrite
        )
        accelerator.wait_for_everyone()  # all have looked before one writes
        recorder = _begin(directory, config, manifest, accelerator, is_new=found is None)
        stack.callback(_finish_trackers, accelerator)
        loaders = _open_loaders(config, accelerator, stack)
        run = Run(model, loaders, config=config.train, recorder=recorder)
        if found is not None:
            restore(run, load_checkpoint_folder(found), recorder)
            _tell(shown, [f"{directory.path} goes on after step {run.step}"])

        def tell(record: EpochRecord) -> None:
            _tell(shown, epoch_lines(record, num_epochs=config.train.epochs))

        result = play(run, loaders, recorder=recorder, console=shown, on_epoch=tell)
        cross = _test_on_other(run, loaders, recorder, config.model.test_modality)
        return RunResult(
            directory=directory,
            train=result,
            cross=cross,
            bad_samples=tuple(gather_object(_bad_samples(loaders))),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """A finished run and where it is."""

    directory: RunDirectory
    train: TrainResult
    cross: Evaluation | None = None
    """The best weights on `model.test_modality`."""
    bad_samples: tuple[Mapping[str, Any], ...] = ()
    """Samples that neighbours stood in for, of all processes."""


def _begin(
    directory: RunDirectory,
    config: RunConfig,
    manifest: Manifest,
    accelerator: Accelerator,
    *,
    is_new: bool,
) -> Recorder:
    if accelerator.is_main_process:
        if is_new:
            directory.clear()
        facts = RunFacts(
            num_outputs=outputs_for(manifest, config.train.loss),
            classes=manifest.classes,
            target_names=manifest.target_names,
            num_processes=accelerator.num_processes,
        )
        directory.write(config, facts)
    accelerator.wait_for_everyone()
    if accelerator.log_with:
        accelerator.init_trackers("trackers", config=_scalars(config))
    return Recorder(
        accelerator=accelerator,
        settings=config.record,
        metrics=MetricsFile(directory.metrics_path),
        directory=directory,
    )


def _scalars(config: RunConfig) -> dict[str, Any]:
    """What every tracker can show: numbers and words."""
    return {
        name: value if isinstance(value, (int, float)) else str(value)
        for name, value in flat_config(config).items()
    }


def _open_loaders(config: RunConfig, accelerator: Accelerator, stack: ExitStack) -> Loaders:
    # Accelerate numbers even the CPUs of several processes.
    device = str(accelerator.device) if accelerator.device.type == "cuda" else "cpu"

    def opened(split: str, *, training: bool = False) -> ClipLoader:
        return stack.enter_context(open_loader(config, split, training=training, device=device))

    data = config.data
    return Loaders(
        train=opened(data.train_split, training=True),
        val=opened(data.val_split),
        test=None if data.test_split is None else opened(data.test_split),
    )


def _check_modality(model: ClipModel, wanted: Modality | None) -> None:
    if wanted is not None and not hasattr(model, "modality"):
        raise ConfigError(
            f"model.test_modality={wanted!r} goes with a shared encoder: model.name="
            "'fusion/shared/BACKBONE'"
        )


def _test_on_other(
    run: Run, loaders: Loaders, recorder: Recorder, wanted: Modality | None
) -> Evaluation | None:
    """S1's cross experiment: trained on one modality, tested on another."""
    if wanted is None or loaders.test is None:
        return None
    evaluated: Any = run.evaluated
    trained: Modality = evaluated.modality
    evaluated.modality = wanted
    try:
        cross = run.evaluate(loaders.test)
    finally:
        evaluated.modality = trained
    recorder.evaluation("cross", cross, step=run.step)
    return cross


def _bad_samples(loaders: Loaders) -> list[Mapping[str, Any]]:
    opened = cast("list[ClipLoader | None]", [loaders.train, loaders.val, loaders.test])
    return [
        {"split": loader.split} | bad
        for loader in opened
        if loader is not None
        for bad in loader.stats()["quarantined"]
    ]


def _tell(console: Console | None, lines: Sequence[str]) -> None:
    if console is not None:
        for line in lines:
            console.print(line, markup=False, highlight=False, soft_wrap=True)


def _finish_trackers(accelerator: Accelerator) -> None:
    for tracker in accelerator.trackers:
        tracker.finish()


@contextmanager
def _torch_threads(wanted: int | None) -> Generator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(wanted or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
