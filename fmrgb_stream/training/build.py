"""RunConfig -> manifest, model and loaders."""

from __future__ import annotations

import logging
import math
from dataclasses import replace

import torch

from fmrgb_stream.config import ClipConfig, LossName, ModelConfig, RunConfig
from fmrgb_stream.distributed import WorldInfo
from fmrgb_stream.errors import ConfigError
from fmrgb_stream.loader import ClipLoader, build_loader
from fmrgb_stream.models import ClipModel, create_model
from fmrgb_stream.models.interface import CLIP_FIELDS
from fmrgb_stream.shards import Manifest, ShardReader
from fmrgb_stream.storage import Store
from fmrgb_stream.training.masking import shown_root
from fmrgb_stream.training.run_directory import WEIGHT_OPTIONS
from fmrgb_stream.training.truth import count_outputs, truth_kind

log = logging.getLogger(__name__)


def open_loader(
    config: RunConfig,
    split: str,
    *,
    training: bool = False,
    device: str = "cpu",
    world: WorldInfo | None = None,
) -> ClipLoader:
    """The clips of one split as a run sees them.

    Args:
        config: Its `data.batch_size` is shared among all processes.
        split: One of the dataset's.
        training: Shuffled, windows at random places, the tail dropped; else every clip once, in
            order, the window in the middle.
        device: Where batches are delivered.
        world: This process among others; None reads what the launcher set.

    Raises:
        ConfigError: the batch cannot be shared evenly, or settings do not work.
        ManifestError, StorageError: the dataset cannot be opened.
    """
    data, here = config.data, world or WorldInfo.from_environment()
    return build_loader(
        data.root,
        split=split,
        batch_size=clips_a_batch(config, num_processes=here.world_size),
        seed=config.train.seed,
        clip=config.clip if training else eval_clip(config.clip),
        device=device,
        backend=data.backend,
        shuffle=training,
        tail="drop" if training else "pad",
        num_workers=data.num_workers,
        worker_kind=data.worker_kind,
        prefetch_batches=data.prefetch_batches,
        on_bad_sample=data.on_bad_sample,
        max_bad_fraction=data.max_bad_fraction,
        decode=data.decode,
        prefetch_bytes=data.prefetch_bytes,
        verify_checksums=data.verify_checksums,
        cache_dir=data.cache_dir,
        cache_bytes=data.cache_bytes,
        audit_log=data.audit_log if training else None,
        world=here,
    )


def clips_a_batch(config: RunConfig, *, num_processes: int) -> int:
    """Clips of one micro-batch in one process.

    Raises:
        ConfigError: `data.batch_size` cannot be shared evenly.
    """
    parts = num_processes * config.train.accumulation
    if config.data.batch_size % parts:
        raise ConfigError(
            f"data.batch_size={config.data.batch_size} is the clips of a whole step and cannot be "
            f"shared evenly by {num_processes} processes times train.accumulation="
            f"{config.train.accumulation}; make it a multiple of {parts}"
        )
    return config.data.batch_size // parts


def eval_clip(clip: ClipConfig) -> ClipConfig:
    """The same clip at a place that does not change: a `random` window becomes the `centre`."""
    return replace(clip, window="centre") if clip.window == "random" else clip


def read_manifest(config: RunConfig) -> Manifest:
    """The dataset's.

    Raises:
        ConfigError: no dataset is named.
        ManifestError, StorageError: it cannot be read.
    """
    if not config.data.root:
        raise ConfigError("data.root is empty; give the packed dataset: --data.root DATASET")
    return Manifest.load(Store(config.data.root))


def check_splits(config: RunConfig, manifest: Manifest) -> None:
    """Refuse splits that are not there, before anything is opened.

    Raises:
        ConfigError: with the cure.
    """
    data = config.data
    wanted = {"train_split": data.train_split, "val_split": data.val_split}
    if data.test_split is not None:
        wanted["test_split"] = data.test_split
    missing = [
        f"data.{name}={split!r}" for name, split in wanted.items() if split not in manifest.splits
    ]
    if missing:
        raise ConfigError(
            f"{shown_root(data.root)} has no {', '.join(missing)}; it has {sorted(manifest.splits)}; a missing test "
            "split can be left out with --data.test-split null"
        )


def data_warnings(config: RunConfig, manifest: Manifest) -> tuple[str, ...]:
    """What of a dataset the run does not use, though its maker meant it to."""
    has_flow = bool(manifest.pack_config.get("flow_video"))
    if has_flow and config.clip.needs_flow and config.clip.flow.estimator != "member":
        return (
            f"{shown_root(config.data.root)} holds flow videos, and the channel statistics of flow are theirs, "
            f"but clip.flow.estimator is {config.clip.flow.estimator!r}: flow is computed anew; "
            "--clip.flow.estimator member takes the packed one",
        )
    return ()


def check_labels(config: RunConfig, manifest: Manifest) -> None:
    """Refuse validation and test splits that nothing can be scored on, before training.

    Raises:
        ConfigError: no sample of a split has what the loss is for.
        StorageError, ManifestError: its index cannot be read.
    """
    data = config.data
    kind = truth_kind(config.train.loss, has_targets=bool(manifest.target_names))
    store = Store(data.root)
    for name, split in (("val_split", data.val_split), ("test_split", data.test_split)):
        if split is None:
            continue
        reader = ShardReader(store, manifest.split(split))
        samples = map(reader.info, range(reader.num_samples))
        if kind == "classes":
            is_known = any(sample.label is not None for sample in samples)
        else:
            is_known = any(
                sample.targets is not None and not any(map(math.isnan, sample.targets))
                for sample in samples
            )
        if not is_known:
            what = "label" if kind == "classes" else "whole set of targets"
            cure = "; --data.test-split null leaves the test out" * (name == "test_split")
            raise ConfigError(
                f"no sample of data.{name}={split!r} has a {what}, so nothing can be scored on it"
                f"{cure}; fmrgb predict --unlabelled tells what a trained model says of such clips"
            )


def build_model(config: RunConfig, manifest: Manifest, *, with_weights: bool = True) -> ClipModel:
    """A new model; equal seeds give equal weights.

    Args:
        config: Of the run.
        manifest: Of its dataset.
        with_weights: Load what `model` names to start from; a run that goes on has its own.

    Raises:
        ConfigError: model and dataset do not fit each other.
    """
    settings: ModelConfig = config.model if with_weights else _without_weights(config.model)
    if with_weights:
        _warn_if_random_is_frozen(settings)
    torch.manual_seed(config.train.seed)
    model = create_model(
        settings.name,
        num_classes=outputs_for(manifest, config.train.loss),
        channels=config.clip.planes,
        channel_stats=manifest.channel_stats,
        pretrained=settings.pretrained,
        checkpoint=settings.checkpoint,
        new_head=settings.new_head,
        **settings.options,
    )
    if settings.channels_last:
        _to_channels_last(model)
    return model


def outputs_for(manifest: Manifest, loss: LossName) -> int:
    """Classes or targets of the dataset, whichever the loss is for."""
    return count_outputs(
        loss, num_classes=len(manifest.classes), num_targets=len(manifest.target_names)
    )


def with_extras(config: RunConfig, model: ClipModel) -> RunConfig:
    """The config whose clips bring all that the model reads beside the planes."""
    needed = tuple(field for field in model.batch_fields if field not in CLIP_FIELDS)
    extras = tuple(dict.fromkeys((*config.clip.extras, *needed)))
    return replace(config, clip=replace(config.clip, extras=extras))


def _without_weights(settings: ModelConfig) -> ModelConfig:
    """No file and no network are needed."""
    options = {name: v for name, v in settings.options.items() if name not in WEIGHT_OPTIONS}
    return replace(settings, pretrained=False, checkpoint=None, new_head=False, options=options)


def _warn_if_random_is_frozen(settings: ModelConfig) -> None:
    has_weights = settings.pretrained or settings.checkpoint is not None
    if settings.options.get("freeze_backbone") and not has_weights:
        log.warning(
            "model.options freeze_backbone without weights: the backbone stays random; give "
            "--model.pretrained or --model.checkpoint FILE, or leave freeze_backbone out"
        )


def _to_channels_last(model: ClipModel) -> None:
    formats = {4: torch.channels_last, 5: torch.channels_last_3d}
    for parameter in model.parameters():
        if parameter.ndim in formats:
            parameter.data = parameter.data.contiguous(memory_format=formats[parameter.ndim])
