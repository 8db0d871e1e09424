"""A run's config and a dataset -> the clips of any split as a model is shown them, on all processes."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

import torch

from fmrgb_stream.distributed import WorldInfo
from fmrgb_stream.errors import ConfigError
from fmrgb_stream.shards import ShardReader
from fmrgb_stream.storage import Store
from fmrgb_stream.training.acceleration import computes_on_cpu, make_accelerator
from fmrgb_stream.training.build import open_loader, read_manifest
from fmrgb_stream.training.masking import shown_root

if TYPE_CHECKING:
    from accelerate import Accelerator

    from fmrgb_stream.config import ClipConfig, RunConfig
    from fmrgb_stream.loader import ClipLoader
    from fmrgb_stream.shards import Manifest

log = logging.getLogger(__name__)


class ClipProgress(Protocol):
    """Where it is told how far a split is."""

    def start(self, stage: str, *, total: int, kept: int = 0) -> None:
        """A split of so many clips begins; `kept` of them are done."""
        ...

    def advance(self, stage: str, count: int = 1) -> None:
        """So many clips more."""
        ...


def show(config: RunConfig) -> Shown:
    """Open the dataset of a config, and this process among the others.

    Raises:
        ConfigError, ManifestError, StorageError: the dataset cannot be opened.
    """
    manifest = read_manifest(config)
    if config.num_torch_threads is not None:
        torch.set_num_threads(config.num_torch_threads)
    config = _computable_here(config)
    accelerator = make_accelerator(
        mixed_precision=config.train.mixed_precision, device=config.data.device
    )
    return Shown(config=config, manifest=manifest, accelerator=accelerator)


def _computable_here(config: RunConfig) -> RunConfig:
    """A CPU has no fp16: what was trained with it is asked in full precision there."""
    if config.train.mixed_precision != "fp16" or not computes_on_cpu(config.data.device):
        return config
    log.warning("trained with mixed_precision='fp16', evaluated in float32: this is a CPU")
    return replace(config, train=replace(config.train, mixed_precision="no"))


def shared_evenly(batch_size: int) -> int:
    """At least as many clips, the same for each process; a batch mate changes no prediction."""
    num_processes = WorldInfo.from_environment().world_size
    return -(-batch_size // num_processes) * num_processes


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A dataset, what a clip of it is, and who shares the work."""

    config: RunConfig
    manifest: Manifest
    accelerator: Accelerator

    @property
    def clip(self) -> ClipConfig:
        """What the model is shown."""
        return self.config.clip

    @property
    def device(self) -> str:
        """Where clips are delivered."""
        device = self.accelerator.device
        # One of several processes is told `cpu:0`.
        return "cpu" if device.type == "cpu" else str(device)

    @property
    def filled_splits(self) -> tuple[str, ...]:
        """Splits of the dataset that have samples, in its order."""
        return tuple(n for n, entry in self.manifest.splits.items() if entry.num_samples)

    def open(self, split: str) -> ClipLoader:
        """This process's part of a split, in order; the caller closes it.

        Raises:
            ConfigError, ManifestError: there is no such split, or it is empty.
        """
        if not self.manifest.split(split).num_samples:
            raise ConfigError(
                f"split {split!r} of {shown_root(self.config.data.root)} is empty; "
                f"{list(self.filled_splits)} have samples"
            )
        return open_loader(self.config, split, device=self.device)

    def reader(self, split: str) -> ShardReader:
        """Keys and groups of a split."""
        return ShardReader(Store(self.config.data.root), self.manifest.split(split))
