"""A run and a dataset -> the trained model's Outcomes of any split, with what is asked differently."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from fmrgb_stream.config import RunConfig, check_positive
from fmrgb_stream.errors import ConfigError
from fmrgb_stream.loader import ClipLoader
from fmrgb_stream.models import ClipModel
from fmrgb_stream.sample import ClipBatch
from fmrgb_stream.training.build import eval_clip, read_manifest, with_extras
from fmrgb_stream.training.other_input import choose_modality, cross_clip, only_planes, switch_off
from fmrgb_stream.training.outcomes import Outcomes
from fmrgb_stream.training.run_directory import LoadedRun, RunDirectory, load_run
from fmrgb_stream.training.shown import ClipProgress, Shown, shared_evenly, show
from fmrgb_stream.training.split_outcomes import Question, question_of, split_outcomes


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What is asked differently than in the run's own validation; None keeps it."""

    root: str | None = None
    """Another packed dataset."""
    window_seconds: float | None = None
    """Windows of this length slide over each sample."""
    hop_seconds: float | None = None
    """From one window's start to the next; None is `window_seconds`."""
    channels: str | tuple[str, ...] | None = None
    """Only these planes of the model's hold something."""
    cross_channels: str | tuple[str, ...] | None = None
    """The model reads these planes in place of its own."""
    modality: str | None = None
    """A shared encoder reads `picture`, `sound` or `both`."""
    batch_size: int | None = None
    """Clips a step over all processes."""
    num_workers: int | None = None
    device: str | None = None
    """`cpu` or `auto`."""

    def __post_init__(self) -> None:
        """Check what must fit each other."""
        for name in ("window_seconds", "hop_seconds", "batch_size", "num_workers"):
            check_positive(name, getattr(self, name))
        if self.hop_seconds is not None and self.window_seconds is None:
            raise ConfigError(f"hop={self.hop_seconds} goes with window=, the length of a window")


def open_trained(path: str | os.PathLike[str], asked: Asked | None = None) -> Trained:
    """The model of a run directory, or of one of its weights files, ready to be asked.

    Args:
        path: Run directory, or a weights file in it or below it.
        asked: What is asked differently; None nothing.

    Raises:
        ConfigError: no run, no weights, or a question that the model cannot be asked.
        ManifestError, StorageError: the dataset cannot be opened.
    """
    asked = asked or Asked()
    run = _load(Path(path))
    config = _config(run, asked)
    if asked.cross_channels is not None:
        stats = read_manifest(config).channel_stats
        clip = cross_clip(run.model, config.clip, asked.cross_channels, stats=stats)
        config = replace(config, clip=clip)
    if asked.modality is not None:
        choose_modality(run.model, asked.modality)
    shown = show(config)
    return Trained(
        run=run,
        model=run.model.to(shown.accelerator.device).eval(),
        shown=shown,
        question=question_of(
            config.train.loss,
            classes=run.facts.classes,
            target_names=run.facts.target_names,
        ),
        switched_off=() if asked.channels is None else only_planes(config.clip, asked.channels),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """A trained model, the clips it is shown, and what it tells of them."""

    run: LoadedRun
    model: ClipModel
    """On the accelerator's device, in evaluation mode."""
    shown: Shown
    """The clips it is asked about."""
    question: Question
    switched_off: tuple[str, ...] = ()
    """Planes that hold nothing."""

    def outcomes(
        self, split: str, *, with_truth: bool = True, progress: ClipProgress | None = None
    ) -> Outcomes:
        """What the model says of every clip of a split.

        Args:
            split: One of the dataset's.
            with_truth: Whether labels or targets are looked at.
            progress: Told by the first process.

        Raises:
            ConfigError: the dataset tells other things than the model.
        """
        with self.shown.open(split) as loader:
            told = progress if self.shown.accelerator.is_main_process else None
            if told is not None:
                told.start(split, total=loader.num_clips)
            return split_outcomes(
                self.model,
                self._batches(loader),
                split=split,
                question=self.question,
                manifest=self.shown.manifest,
                reader=self.shown.reader(split),
                accelerator=self.shown.accelerator,
                with_truth=with_truth,
                on_clips=None if told is None else partial(told.advance, split),
            )

    def _batches(self, loader: ClipLoader) -> Iterator[ClipBatch]:
        for batch in loader:
            yield switch_off(batch, self.switched_off) if self.switched_off else batch


def _load(path: Path) -> LoadedRun:
    if not path.exists():
        raise ConfigError(f"{path} does not exist; give the folder that `fmrgb train --out` named")
    if path.is_dir() and RunDirectory(path=path).exists():
        return load_run(path)
    for folder in path.parents:
        if RunDirectory(path=folder).exists():
            return load_run(folder, weights=_weights(path))
    return load_run(path if path.is_dir() else path.parent)


def _weights(path: Path) -> Path:
    """The file itself, or that of a checkpoint's folder: the average where there is one."""
    if path.is_file():
        return path
    found = {file.name: file for file in path.glob("*.safetensors")}
    for name in ("ema.safetensors", "model.safetensors"):
        if name in found:
            return found[name]
    raise ConfigError(
        f"{path} has no weights ({sorted(found) or 'no .safetensors file'}); give a run directory, "
        "one of its checkpoints, or a weights file"
    )


def _config(run: LoadedRun, asked: Asked) -> RunConfig:
    config = with_extras(run.config, run.model)
    clip = eval_clip(config.clip)
    if asked.window_seconds is not None:
        clip = replace(
            clip,
            window="sliding",
            window_seconds=asked.window_seconds,
            hop_seconds=asked.hop_seconds or asked.window_seconds,
        )
    data = config.data
    batch_size = data.batch_size if asked.batch_size is None else asked.batch_size
    data = replace(
        data,
        root=asked.root or data.root,
        batch_size=shared_evenly(batch_size),
        num_workers=asked.num_workers or data.num_workers,
        device=asked.device or data.device,
    )
    return replace(config, clip=clip, data=data, train=replace(config.train, accumulation=1))
