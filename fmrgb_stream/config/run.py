"""All of one training run: data, clips, model, training and what is kept of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from fmrgb_stream.config.checks import check_choice, check_count
from fmrgb_stream.config.clip import ClipConfig
from fmrgb_stream.config.loader import BadSampleRule, DecodePlace, WorkerKind
from fmrgb_stream.config.train import TrainConfig
from fmrgb_stream.errors import ConfigError

Modality = Literal["picture", "sound", "both"]
PipelineName = Literal["auto", "dali", "cpu"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DataConfig:
    """Which clips are trained on, and how they are brought."""

    root: str = ""
    """Packed dataset: a folder or URL that holds manifest.json."""
    train_split: str = "train"
    val_split: str = "val"
    test_split: str | None = "test"
    """Tried once, with the best epoch's weights; None does not."""
    batch_size: int = 32
    """Clips an optimiser step, over all processes and micro-batches together; so a step has the
    same clips on any number of them. Batch norm and dropout still see one process
    and micro-batch at a time, and losses that rank a batch one micro-batch."""
    device: str = "auto"
    """`cpu`, or `auto`: each process's GPU where there is one."""
    backend: PipelineName = "auto"
    """Who makes the clips: `dali`, the `cpu` pipeline, or `auto`."""
    decode: DecodePlace = "auto"
    num_workers: int | None = None
    """Clips made at the same time in each process; None shares the usable cores."""
    worker_kind: WorkerKind = "auto"
    prefetch_batches: int = 2
    prefetch_bytes: int = 1 << 30
    """Memory that the batches in the making may take."""
    verify_checksums: bool = True
    """Check every member against the index."""
    cache_dir: str | None = None
    """Folder on this machine where shards of a remote root are kept, for all processes."""
    cache_bytes: int = 64 << 30
    """At most so much is kept there."""
    audit_log: str | None = None
    """Folder to note the id of every clip in that was trained on, for `fmrgb audit`."""
    on_bad_sample: BadSampleRule = "substitute"
    max_bad_fraction: float = 0.05

    def __post_init__(self) -> None:
        """Check what the loader's own config does not."""
        for name in (
            "batch_size",
            "num_workers",
            "prefetch_batches",
            "prefetch_bytes",
            "cache_bytes",
        ):
            check_count(f"data.{name}", getattr(self, name))
        check_choice("data.backend", self.backend, PipelineName)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelConfig:
    """Which model, and from which weights it starts."""

    name: str = "frame_pool/resnet18"
    """As for `fmrgb_stream.create_model`."""
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """The model family's own options."""
    pretrained: bool = False
    checkpoint: str | None = None
    """A local file with weights to start from."""
    new_head: bool = False
    """With `checkpoint`: leave its head out, because the classes differ."""
    channels_last: bool = False
    """Memory format of the kernels; quicker for image networks."""
    test_modality: Modality | None = None
    """Models with a shared encoder: also test on this modality, which was perhaps not trained on."""

    def __post_init__(self) -> None:
        """Check the choices."""
        if self.test_modality is not None:
            check_choice("model.test_modality", self.test_modality, Modality)


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordConfig:
    """What a run writes while it trains."""

    log_every_steps: int = 10
    """Optimiser steps between two looks at the losses, each of which waits for the device."""
    checkpoint_every_steps: int | None = None
    """Also within epochs; None saves after each epoch only."""
    keep_last: int = 2
    """Checkpoints that are kept beside the best one."""
    trackers: tuple[str, ...] = ("auto",)
    """Accelerate's trackers by name; `auto` is TensorBoard where it is installed."""

    def __post_init__(self) -> None:
        """Check the counts."""
        for name in ("log_every_steps", "checkpoint_every_steps", "keep_last"):
            check_count(f"record.{name}", getattr(self, name))


@dataclass(frozen=True, slots=True, kw_only=True)
class RunConfig:
    """Everything that decides a training run; a run directory's config.yaml holds it."""

    data: DataConfig = field(default_factory=DataConfig)
    clip: ClipConfig = field(default_factory=ClipConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    record: RecordConfig = field(default_factory=RecordConfig)
    num_torch_threads: int | None = None
    """Threads of torch on the CPU; None leaves what the launcher set."""

    def __post_init__(self) -> None:
        """Check what must fit each other."""
        check_count("num_torch_threads", self.num_torch_threads)
        if self.data.batch_size % self.train.accumulation:
            raise ConfigError(
                f"data.batch_size={self.data.batch_size} is the clips of a whole step and must be a "
                f"multiple of train.accumulation={self.train.accumulation}"
            )
