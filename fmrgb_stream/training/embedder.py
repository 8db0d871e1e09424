"""A run, or a model by name, and a dataset -> features of its splits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fmrgb_stream.config import (
    ClipConfig,
    DataConfig,
    ModelConfig,
    RunConfig,
    check_count,
    plain_config,
)
from fmrgb_stream.errors import ConfigError
from fmrgb_stream.models import create_model
from fmrgb_stream.training.build import read_manifest, with_extras
from fmrgb_stream.training.feature_files import FeatureFormat, begin_folder, weights_digest
from fmrgb_stream.training.features import FeatureReport, extract_features
from fmrgb_stream.training.shown import ClipProgress, Shown, shared_evenly, show
from fmrgb_stream.training.trained import Asked, open_trained

if TYPE_CHECKING:
    from fmrgb_stream.models import ClipModel


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbedderSettings:
    """Which model, which data, which windows."""

    model: str
    """Run directory, a weights file in it, or a model's name."""
    root: str | None = None
    """Packed dataset; None is the run's own."""
    num_frames: int = 32
    """Frames of a window, of which the one at place num_frames // 2 is its middle."""
    frame_stride: int = 1
    """Source frames from one frame of a window to the next."""
    hop_seconds: float | None = None
    """From window to window; None is a window about every frame (S2's SlowFast features)."""
    whole_clips: bool = False
    """One clip a sample, as in the run's validation."""
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Of a model by name."""
    checkpoint: str | None = None
    pretrained: bool = False
    channels: str | tuple[str, ...] = "rgb"
    """Planes of a model by name."""
    size: tuple[int, int] = (112, 112)
    """(height, width) in pixels for a model by name."""
    batch_size: int = 16
    """Windows a step over all processes."""
    num_workers: int | None = None
    device: str = "auto"

    def __post_init__(self) -> None:
        """Check the counts; the clip checks the rest."""
        for name in ("num_frames", "frame_stride", "batch_size", "num_workers"):
            check_count(name, getattr(self, name))


def open_embedder(settings: EmbedderSettings) -> Embedder:
    """The model and the data.

    Raises:
        ConfigError: neither a run nor a model with weights, or no dataset.
        ManifestError, StorageError: the dataset cannot be opened.
    """
    if not Path(settings.model).exists():
        return _by_name(settings)
    asked = Asked(
        root=settings.root,
        batch_size=settings.batch_size,
        num_workers=settings.num_workers,
        device=settings.device,
    )
    trained = open_trained(settings.model, asked)
    config = trained.shown.config
    if not settings.whole_clips:
        config = replace(config, clip=_windows(config.clip, settings))
    return Embedder(model=trained.model, shown=replace(trained.shown, config=config))


@dataclass(frozen=True, slots=True, kw_only=True)
class Embedder:
    """A model whose embedding is wanted, and the windows it is shown."""

    model: ClipModel
    """On the accelerator's device, in evaluation mode."""
    shown: Shown

    def extract(
        self,
        split: str,
        *,
        out: Path,
        file_format: FeatureFormat = "npy",
        progress: ClipProgress | None = None,
    ) -> FeatureReport:
        """Write the files of a split that are not there yet.

        Raises:
            ConfigError: the folder holds features of another model, data or window.
        """
        with self.shown.open(split) as loader:
            begin_folder(out, self._settings(file_format), accelerator=self.shown.accelerator)
            return extract_features(
                self.model,
                loader,
                reader=self.shown.reader(split),
                out=out,
                file_format=file_format,
                accelerator=self.shown.accelerator,
                progress=progress,
            )

    def _settings(self, file_format: FeatureFormat) -> dict[str, Any]:
        """All that decides a number in the files, as JSON values."""
        manifest = self.shown.manifest
        return {
            "model": self.shown.config.model.name,
            "weights": weights_digest(self.model),
            "num_features": self.model.num_features,
            "clip": plain_config(self.shown.clip),
            "data": {split: manifest.fingerprint(split) for split in manifest.splits},
            "format": file_format,
        }


def _by_name(settings: EmbedderSettings) -> Embedder:
    has_weights = settings.pretrained or settings.checkpoint is not None
    if not has_weights and "published_weights" not in settings.options:
        raise ConfigError(
            f"{settings.model!r} is neither a run directory nor a model with weights: a model by "
            "name needs --checkpoint FILE, --pretrained, or --options '{published_weights: FILE}'"
        )
    if settings.root is None:
        raise ConfigError(f"model {settings.model!r} knows no dataset: give --root DATASET")
    config = RunConfig(
        data=DataConfig(
            root=settings.root,
            batch_size=shared_evenly(settings.batch_size),
            num_workers=settings.num_workers,
            device=settings.device,
        ),
        clip=_windows(ClipConfig(size=settings.size, channels=settings.channels), settings),
        model=ModelConfig(name=settings.model, options=settings.options),
    )
    manifest = read_manifest(config)
    model = create_model(
        settings.model,
        num_classes=max(1, len(manifest.classes) or len(manifest.target_names)),
        channels=config.clip.planes,
        channel_stats=manifest.channel_stats,
        pretrained=settings.pretrained,
        checkpoint=settings.checkpoint,
        new_head=settings.checkpoint is not None,
        **settings.options,
    )
    shown = show(with_extras(config, model))
    return Embedder(model=model.to(shown.accelerator.device).eval(), shown=shown)


def _windows(clip: ClipConfig, settings: EmbedderSettings) -> ClipConfig:
    if settings.whole_clips:
        return replace(clip, num_frames=settings.num_frames, frame_stride=settings.frame_stride)
    return replace(
        clip,
        window="around",
        window_seconds=None,
        hop_seconds=settings.hop_seconds,
        fraction=1.0,
        fps=None,
        num_frames=settings.num_frames,
        frame_stride=settings.frame_stride,
    )
