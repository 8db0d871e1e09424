"""Run directory and what is asked -> the checkpoint to go on from, or the reason why not."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, cast

from fmrgb_stream.config import RunConfig, plain_config
from fmrgb_stream.errors import ConfigError
from fmrgb_stream.training.checkpoint import newest_checkpoint, read_progress
from fmrgb_stream.training.run_directory import RunDirectory

MAY_CHANGE: Final = frozenset(
    {
        "data.root",  # a dataset that was moved; the loader compares its contents
        "data.num_workers",
        "data.worker_kind",
        "data.prefetch_batches",
        "data.max_bad_fraction",
        "model.checkpoint",
        "record.checkpoint_every_steps",
        "record.keep_last",
        "record.log_every_steps",
        "record.trackers",
    }
)
"""Settings that do not decide what a run computes: they may differ when it goes on."""


def checkpoint_to_take(
    directory: RunDirectory,
    config: RunConfig,
    *,
    resume: bool,
    wanted: Path | None = None,
    overwrite: bool = False,
) -> Path | None:
    """The checkpoint that a run goes on from, or None when it begins.

    Args:
        directory: The run's; read only.
        config: Must be what the run was begun with, but for `MAY_CHANGE`.
        resume: Go on with the run that is there.
        wanted: This checkpoint instead of the newest whole one.
        overwrite: A run that is there may be replaced.

    Raises:
        ConfigError: there is nothing to resume, settings differ, or a run would be overwritten.
    """
    if not resume:
        if directory.exists() and not overwrite:
            raise ConfigError(
                f"{directory.path} holds a run already; --resume {directory.path} goes on with it, "
                "--overwrite begins anew, --out FOLDER goes elsewhere"
            )
        return None
    saved, _ = directory.read()
    _check_same(config, saved)
    if wanted is not None:
        read_progress(wanted)
        return wanted
    return newest_checkpoint(directory.checkpoints_path)


def find_run(path: Path) -> tuple[RunDirectory, Path | None]:
    """A run directory, or a checkpoint of one, as `--resume` takes it -> the run and the checkpoint.

    Raises:
        ConfigError: it is neither.
    """
    if RunDirectory(path=path).exists():
        return RunDirectory(path=path), None
    directory = RunDirectory(path=path.resolve().parent.parent)
    if path.is_dir() and directory.exists():
        return directory, path
    raise ConfigError(
        f"{path} is neither a run directory nor one of the checkpoints in it; give what `fmrgb "
        "train --out` named, or one of its checkpoints/step-..."
    )


def flat_config(config: RunConfig) -> dict[str, Any]:
    """Every setting by its dotted name; a model's options are one setting."""
    return dict(_flat(plain_config(config), prefix=""))


def _check_same(config: RunConfig, saved: RunConfig) -> None:
    ours, theirs = flat_config(config), flat_config(saved)
    differing = [
        f"{name}={ours[name]!r} (the run has {theirs[name]!r})"
        for name in sorted(ours)
        if name not in MAY_CHANGE and ours[name] != theirs[name]
    ]
    if differing:
        raise ConfigError(
            f"a run goes on with the settings that it began with, but {'; '.join(differing)}; leave "
            "them out, or begin another run with --out"
        )


def _flat(values: Mapping[str, Any], *, prefix: str) -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for name, value in values.items():
        dotted = f"{prefix}{name}"
        if isinstance(value, dict) and dotted != "model.options":
            found += _flat(cast("dict[str, Any]", value), prefix=f"{dotted}.")
        else:
            found.append((dotted, value))
    return found
