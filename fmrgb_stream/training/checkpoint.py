"""Snapshot of a run <-> a folder that is there as a whole or not at all.

    checkpoints/step-00000120/
      model.safetensors  ema.safetensors   weights, and their average if there is one
      optimiser.pt                         optimiser, schedule and gradient scaler
      ranks.pt                             random generators of every process
      state.json                           counters, the loader's position, the size of the other files

It is written under another name, brought to the disk, and renamed. torch files are read with `weights_only`.
"""

from __future__ import annotations

import json
import os
import pickle
import re
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from fmrgb_stream.errors import ConfigError

VERSION: Final = 1
_NAME: Final = re.compile(r"step-(\d{8,})")
_PART: Final = ".part"
_STATE, _MODEL, _EMA = "state.json", "model.safetensors", "ema.safetensors"
_OPTIMISER, _RANKS = "optimiser.pt", "ranks.pt"


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a run is."""

    step: int
    """Optimiser steps so far."""
    epoch: int
    """The epoch that goes on, from 0."""
    step_losses: tuple[float, ...]
    """Of this epoch's steps so far."""
    loader: Mapping[str, Any] | None
    """`ClipLoader.state_dict()`; None for a loader without one."""
    num_processes: int
    num_averaged: int
    """Steps in the moving average."""
    best_epoch: int | None
    best_step: int | None
    """The checkpoint of the best epoch; None before the first validation."""
    is_over: bool = False
    """No training is left: all epochs are done, or patience ran out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """All that is needed to go on as if nothing had happened."""

    progress: Progress
    model: dict[str, Tensor]
    ema: dict[str, Tensor] | None
    optimiser: dict[str, Any]
    """States by name: `optimiser`, `schedule`, `scaler`."""
    ranks: list[dict[str, Any]]
    """Random generators by rank."""

    @property
    def best_weights(self) -> dict[str, Tensor]:
        """What is evaluated: the average where there is one."""
        return self.model if self.ema is None else self.ema


def save_checkpoint(folder: Path, snapshot: Snapshot) -> Path:
    """Write a snapshot under `folder`; its place."""
    target = checkpoint_path(folder, snapshot.progress.step)
    aside = target.with_name(f"{_PART}-{target.name}-{os.getpid()}")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    save_file(snapshot.model, aside / _MODEL)
    if snapshot.ema is not None:
        save_file(snapshot.ema, aside / _EMA)
    torch.save(snapshot.optimiser, aside / _OPTIMISER)
    torch.save(snapshot.ranks, aside / _RANKS)
    sizes = {path.name: path.stat().st_size for path in sorted(aside.iterdir())}
    content = {"version": VERSION, "sizes": sizes} | asdict(snapshot.progress)
    (aside / _STATE).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    for path in (*aside.iterdir(), aside):
        _to_disk(path)
    if target.exists():
        # Made by the run that is being resumed, and now made again: the old one goes as a whole.
        old = target.with_name(f"{_PART}-old-{target.name}")
        shutil.rmtree(old, ignore_errors=True)
        target.rename(old)
        shutil.rmtree(old)
    aside.rename(target)
    _to_disk(folder)
    return target


def load_checkpoint_folder(path: Path) -> Snapshot:
    """What `save_checkpoint` wrote.

    Raises:
        ConfigError: it is damaged, or of another version.
    """
    progress = read_progress(path)
    try:
        has_ema = (path / _EMA).is_file()
        return Snapshot(
            progress=progress,
            model=load_file(path / _MODEL),
            ema=load_file(path / _EMA) if has_ema else None,
            optimiser=torch.load(path / _OPTIMISER, map_location="cpu", weights_only=True),
            ranks=torch.load(path / _RANKS, map_location="cpu", weights_only=True),
        )
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise ConfigError(f"checkpoint {path} is damaged: {error}; resume from another") from error


def best_weights_in(path: Path) -> dict[str, Tensor]:
    """`Snapshot.best_weights` without the rest.

    Raises:
        ConfigError: it is no whole checkpoint.
    """
    read_progress(path)
    return load_file(path / (_EMA if (path / _EMA).is_file() else _MODEL))


def read_progress(path: Path) -> Progress:
    """The counters of a checkpoint, after a look at the sizes of its files.

    Raises:
        ConfigError: it is no whole checkpoint, or of another version.
    """
    try:
        content: dict[str, Any] = json.loads((path / _STATE).read_text(encoding="utf-8"))
        version, sizes = content.pop("version"), content.pop("sizes")
        if version != VERSION:
            raise ConfigError(
                f"checkpoint {path} has version {version}, this release reads {VERSION}; "
                "resume with the release that wrote it"
            )
        found = {name: (path / name).stat().st_size for name in sizes}
        if found != sizes:
            raise ConfigError(f"checkpoint {path} is damaged: files are {found}, not {sizes}")
        content["step_losses"] = tuple(content["step_losses"])
        return Progress(**content)
    except (OSError, ValueError, KeyError, TypeError) as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(f"{path} is no whole checkpoint: {error!r}") from error


def newest_checkpoint(folder: Path) -> Path | None:
    """The last whole checkpoint under `folder`, or None."""
    for path in reversed(_all(folder)):
        try:
            read_progress(path)
        except ConfigError:
            continue
        return path
    return None


def prune_checkpoints(folder: Path, *, keep_last: int, best_step: int | None) -> None:
    """Remove all but the last ones and the best one, and what killed runs left half-written."""
    found = _all(folder)
    kept = {*found[-keep_last:]}
    if best_step is not None:
        kept.add(checkpoint_path(folder, best_step))
    for path in (*(p for p in found if p not in kept), *folder.glob(f"{_PART}-*")):
        shutil.rmtree(path, ignore_errors=True)


def drop_later(folder: Path, step: int) -> None:
    """Remove checkpoints after a step: a run that goes on from there makes its own."""
    for path in _all(folder):
        if _step_of(path) > step:
            shutil.rmtree(path)


def checkpoint_path(folder: Path, step: int) -> Path:
    """Where the checkpoint of a step is."""
    return folder / f"step-{step:08d}"


def save_weights(path: Path, weights: dict[str, Tensor]) -> None:
    """One safetensors file that is there as a whole or not at all."""
    aside = path.with_name(f"{_PART}-{path.name}")
    save_file(weights, aside)
    _to_disk(aside)
    aside.replace(path)
    _to_disk(path.parent)


def _all(folder: Path) -> list[Path]:
    """Checkpoints by step; half-written ones have other names."""
    found = [path for path in folder.glob("step-*") if _NAME.fullmatch(path.name)]
    return sorted(found, key=_step_of)


def _step_of(path: Path) -> int:
    return int(path.name.removeprefix("step-"))


def _to_disk(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
