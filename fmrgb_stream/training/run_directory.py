"""A training run <-> its folder. Everything that is written about a run has its place here.

    <run>/config.yaml             RunConfig, and under `made` what it was made with: `RunFacts`
    <run>/metrics.jsonl           one line an epoch, a test, and every few steps: training/records.py
    <run>/weights.safetensors     the model as it was best by validation (averaged, with EMA)
    <run>/checkpoints/step-00000120/    all that is needed to go on: training/checkpoint.py
    <run>/curves.png  confusion.png  predictions.parquet  predictions.csv  report.html

`config.yaml` can be given to `fmrgb train --config` as it is.
"""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, cast

import yaml

from fmrgb_stream.config import ClipConfig, RunConfig, config_from_plain, plain_config
from fmrgb_stream.errors import ConfigError
from fmrgb_stream.models import ClipModel, create_model, load_checkpoint

FORMAT_VERSION: Final = 1
FACTS: Final = "made"
_LIBRARIES: Final = ("torch", "torchvision", "timm", "accelerate")
_WEIGHT_FILES: Final = ("published_weights",)
"""Model options that name a file with weights to start from; it need not exist any more."""


def load_run(path: str | os.PathLike[str], *, weights: Path | None = None) -> LoadedRun:
    """The best model of a run, ready to evaluate, and what it was trained on.

    `fmrgb_stream.training.open_loader(run.config, split)` gives clips as in its validation.

    Args:
        path: Run directory.
        weights: Other weights of the same run; None is `weights.safetensors`.

    Raises:
        ConfigError: this is no run directory, or the run has no weights yet.
    """
    directory = RunDirectory(path=Path(path))
    config, facts = directory.read()
    chosen = weights or directory.weights_path
    if not chosen.is_file():
        raise ConfigError(f"{directory.path} has no {chosen.name} yet: no epoch was finished")
    model = create_model(
        config.model.name,
        num_classes=facts.num_outputs,
        channels=config.clip.planes,
        **{name: v for name, v in config.model.options.items() if name not in _WEIGHT_FILES},
    )
    load_checkpoint(model, chosen)
    return LoadedRun(model=model.eval(), config=config, facts=facts, directory=directory)


def versions_here() -> dict[str, str]:
    """Python's and the libraries' that decide what a model computes."""
    from fmrgb_stream import __version__

    found = {name: version(name) for name in _LIBRARIES}
    return {"fmrgb_stream": __version__, "python": platform.python_version()} | found


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFacts:
    """What a run found in its dataset, and what it ran on."""

    num_outputs: int
    """Of the model: classes or targets."""
    classes: tuple[str, ...]
    """By label index; empty without classes."""
    target_names: tuple[str, ...]
    """Empty without targets."""
    num_processes: int = 1
    format_version: int = FORMAT_VERSION
    versions: Mapping[str, str] = field(default_factory=versions_here)

    def __post_init__(self) -> None:
        """Refuse what a later release wrote.

        Raises:
            ConfigError: another format.
        """
        if self.format_version != FORMAT_VERSION:
            raise ConfigError(
                f"the run has format_version {self.format_version}, this release reads "
                f"{FORMAT_VERSION}; use the release that wrote it"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class RunDirectory:
    """Where things of a run are."""

    path: Path

    @property
    def config_path(self) -> Path:
        """RunConfig and RunFacts."""
        return self.path / "config.yaml"

    @property
    def metrics_path(self) -> Path:
        """See `training/records.py`."""
        return self.path / "metrics.jsonl"

    @property
    def weights_path(self) -> Path:
        """The best epoch's."""
        return self.path / "weights.safetensors"

    @property
    def checkpoints_path(self) -> Path:
        """Folder with a folder a checkpoint."""
        return self.path / "checkpoints"

    @property
    def curves_path(self) -> Path:
        """Losses and scores by epoch."""
        return self.path / "curves.png"

    @property
    def confusion_path(self) -> Path:
        """Clips by true and predicted class."""
        return self.path / "confusion.png"

    @property
    def predictions_path(self) -> Path:
        """A row a clip; a `.csv` of the same lies beside it."""
        return self.path / "predictions.parquet"

    @property
    def report_path(self) -> Path:
        """One self-contained page."""
        return self.path / "report.html"

    def exists(self) -> bool:
        """Whether a run was begun here."""
        return self.config_path.is_file()

    def clear(self) -> None:
        """Remove what an earlier run left, so that it is not taken for this one's."""
        shutil.rmtree(self.checkpoints_path, ignore_errors=True)
        for path in (self.config_path, self.metrics_path, self.weights_path, self.curves_path,
                     self.confusion_path, self.predictions_path, self.report_path,
                     self.predictions_path.with_suffix(".csv")):  # fmt: skip
            path.unlink(missing_ok=True)

    def write(self, config: RunConfig, facts: RunFacts) -> None:
        """Begin a run: make the folder and config.yaml."""
        self.path.mkdir(parents=True, exist_ok=True)
        content = plain_config(config) | {FACTS: plain_config(facts)}
        text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
        self.config_path.write_text(text, encoding="utf-8")

    def read(self) -> tuple[RunConfig, RunFacts]:
        """What `write` wrote.

        Raises:
            ConfigError: there is no run, or its config.yaml is not one of ours.
        """
        if not self.exists():
            raise ConfigError(
                f"{self.path} is no run directory: it has no {self.config_path.name}; "
                "give the folder that `fmrgb train --out` named"
            )
        try:
            content: Any = yaml.safe_load(self.config_path.read_text(encoding="utf-8"))
            facts = cast("dict[str, Any]", content).pop(FACTS)
        except (yaml.YAMLError, UnicodeDecodeError, AttributeError, KeyError, TypeError) as error:
            raise ConfigError(f"{self.config_path} is not a run's config: {error!r}") from error
        return config_from_plain(RunConfig, content), config_from_plain(
            RunFacts, facts, where=f"{FACTS}."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedRun:
    """A trained model and all that is needed to feed it."""

    model: ClipModel
    """On the CPU, in evaluation mode."""
    config: RunConfig
    facts: RunFacts
    directory: RunDirectory

    @property
    def clip(self) -> ClipConfig:
        """What the model was trained on; evaluation takes `eval_clip(run.clip)` of it."""
        return self.config.clip
