"""build_loader(): the whole data path, top to bottom.

plan (shards/plan) -> reader (shards/reader) -> window (clips/sampling) -> planes
(pipelines/cpu or pipelines/dali) -> batch. Every sample exactly once an epoch over all ranks, every rank the same
number of batches, and a state of one position that is committed when a batch is delivered.
"""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Self

from fmrgb_stream.clips.source import SampleSource
from fmrgb_stream.clips.windows import split_items
from fmrgb_stream.config import (
    BadSampleRule,
    ClipConfig,
    DecodePlace,
    LoaderConfig,
    TailRule,
    VideoDecoder,
    WorkerKind,
)
from fmrgb_stream.distributed import WorldInfo
from fmrgb_stream.errors import ConfigError, LoaderClosed
from fmrgb_stream.pipelines.choice import (
    ON_CPU,
    Backend,
    DatasetFacts,
    PipelineChoice,
    build_pipeline,
    choose_pipeline,
)
from fmrgb_stream.pipelines.devices import move_batch
from fmrgb_stream.pipelines.epochs import EpochStream
from fmrgb_stream.pipelines.quarantine import Quarantine
from fmrgb_stream.sample import ClipBatch
from fmrgb_stream.shards import Manifest, RankTasks, ShardReader
from fmrgb_stream.shards.position import EpochPosition, order_fingerprint
from fmrgb_stream.storage import Store

if TYPE_CHECKING:
    import os

    from fmrgb_stream.pipelines.base import ClipPipeline


def build_loader(
    root: str | os.PathLike[str],
    *,
    split: str = "train",
    batch_size: int = 32,
    seed: int = 0,
    clip: ClipConfig | None = None,
    device: str = "cpu",
    backend: Backend = "auto",
    shuffle: bool | None = None,
    tail: TailRule | None = None,
    num_workers: int | None = None,
    worker_kind: WorkerKind = "auto",
    prefetch_batches: int = 2,
    on_bad_sample: BadSampleRule = "substitute",
    max_bad_fraction: float = 0.05,
    video_decoder: VideoDecoder = "auto",
    decode: DecodePlace = "auto",
    verify_checksums: bool = True,
    world: WorldInfo | None = None,
) -> ClipLoader:
    """Open a packed dataset for training or evaluation.

    Args:
        root: Folder (or file:// URL) that holds manifest.json.
        split: One of the manifest's splits.
        batch_size: Clips a batch and process.
        seed: Decides the order of samples and the place of random windows.
        clip: What a clip is; None is 16 frames, stride 4, 112x112, FMRGB.
        device: Where `ClipBatch` tensors are delivered: `cpu` or `cuda[:i]`.
        backend: Who makes the planes. `auto` is DALI for a GPU where it is installed, else the CPU
            pipeline; the log says which. `dali` with `device="cpu"` decodes VP9 shards in DALI.
        shuffle: None shuffles the split named `train` only.
        tail: What becomes of clips that do not fill the last global batch; None is `drop` when
            shuffling, else `pad`.
        num_workers: Clips made at the same time; None shares the usable cores among local ranks.
        worker_kind: `process`, `thread`, or `auto`: processes where the system can (Linux).
        prefetch_batches: Batches in the making ahead of the one handed out.
        on_bad_sample: `substitute` a neighbour (counted and listed) or `raise`.
        max_bad_fraction: Stop when more than this share of the samples (at least 8) were bad.
        video_decoder: `auto`, or one by name.
        decode: With DALI, where: `nvdec`, `host`, `hybrid`, or `auto`, by a short trial.
        verify_checksums: Check every member against the index.
        world: This process among others; None reads RANK, WORLD_SIZE, LOCAL_RANK.

    Raises:
        ConfigError: settings that cannot work, with the cure.
        StorageError, ManifestError: the dataset cannot be opened.
    """
    shuffles = split == "train" if shuffle is None else shuffle
    config = LoaderConfig(
        batch_size=batch_size,
        seed=seed,
        shuffle=shuffles,
        tail=tail or ("drop" if shuffles else "pad"),
        num_workers=num_workers,
        worker_kind=worker_kind,
        prefetch_batches=prefetch_batches,
        on_bad_sample=on_bad_sample,
        max_bad_fraction=max_bad_fraction,
        video_decoder=video_decoder,
        decode=decode,
        verify_checksums=verify_checksums,
    )
    shown, here = clip or ClipConfig(), world or WorldInfo.from_environment()
    choice = choose_pipeline(backend, device, shown, world=here)
    return ClipLoader(
        Store(root), split=split, clip=shown, config=config, world=here, choice=choice
    )


class ClipLoader:
    """One epoch's batches; knows its place and can be put back to it.

    `iter()` plays the current epoch from its start, or from the loaded position if nothing was
    delivered since `load_state_dict`. When all of an epoch was delivered, the next `iter()` plays
    the next one. One iterator at a time: a new one ends the one before. Use it from one thread;
    close it, or use `with`.
    """

    def __init__(
        self,
        store: Store,
        *,
        split: str,
        clip: ClipConfig,
        config: LoaderConfig,
        world: WorldInfo,
        choice: PipelineChoice = ON_CPU,
    ) -> None:
        """See `build_loader`."""
        self.manifest = Manifest.load(store)
        self.split = split
        self.clip = clip
        self.config = config
        self.world = world
        self.device = choice.device
        self.backend = choice.backend
        entry = self.manifest.split(split)
        self._reader = ShardReader(store, entry, verify_checksums=config.verify_checksums)
        self._tasks = RankTasks(
            items=split_items(self._reader, entry, clip), config=config, world=world
        )
        self._epoch = 0
        self._position = 0
        self._start_position: int | None = None
        self._running: Generator[ClipBatch] | None = None
        self._closed = False
        self._tasks.check_not_empty(split)
        sliding = (clip.window_seconds, clip.hop_seconds, clip.fraction)
        self._fingerprint = order_fingerprint(
            self.manifest.fingerprint(split),
            (config.shuffle, config.block_samples, config.shuffle_window_blocks),
            sliding if clip.has_many_windows else "a clip a sample",
        )
        self._quarantine = Quarantine(
            config.on_bad_sample,
            max_bad_fraction=config.max_bad_fraction,
            num_samples=self.num_samples,
        )
        self._pipeline = self._build_pipeline(choice)
        self._stream = EpochStream(self._pipeline, self._tasks)

    @property
    def num_clips(self) -> int:
        """Clips an epoch: samples, or all their sliding windows."""
        return self._tasks.num_items

    @property
    def num_samples(self) -> int:
        """Samples of the split."""
        return self._reader.num_samples

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names by label index."""
        return self.manifest.classes

    @property
    def epoch(self) -> int:
        """The epoch that the next `iter()` plays, or that is being played."""
        return self._epoch

    def __len__(self) -> int:
        """Batches in a whole epoch, the same on every rank."""
        return self._tasks.steps_from(0)

    def __iter__(self) -> Iterator[ClipBatch]:
        """This rank's batches of the current epoch.

        Raises:
            LoaderClosed: after `close()`, or when a newer iterator has taken over.
            TooManyBadSamples: more samples failed than `max_bad_fraction` allows.
            SampleError, DatasetError, StorageError: a sample failed and `on_bad_sample="raise"`.
        """
        if self._closed:
            raise LoaderClosed("this loader was closed; build another one")
        if self._running is not None:
            self._running.close()
        if self._start_position is not None:
            self._position = self._start_position
        else:
            is_over = self._tasks.steps_from(self._position) == 0
            self._epoch, self._position = self._epoch + is_over, 0
        self._running = self._stream.batches(epoch=self._epoch, position=self._position)
        return self._deliver(self._running, self._epoch, self._position)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that the next `iter()` plays; a loaded position in it is kept.

        An iterator that is running goes on with its own epoch, but is not counted any more.
        """
        if epoch < 0:
            raise ConfigError(f"epoch {epoch} is negative")
        if epoch != self._epoch or self._start_position is None:
            self._epoch, self._position, self._start_position = epoch, 0, 0

    def state_dict(self) -> dict[str, Any]:
        """Where the epoch stands, counting delivered batches: plain numbers and strings."""
        return EpochPosition(
            epoch=self._epoch,
            position=self._position,
            seed=self.config.seed,
            fingerprint=self._fingerprint,
        ).to_state()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go to where a loader of the same data and settings stood, on any number of processes.

        Raises:
            StateMismatch: the state is of another version, other data, or other settings.
        """
        saved = EpochPosition.from_state(
            state, seed=self.config.seed, fingerprint=self._fingerprint
        )
        self._epoch = saved.epoch
        self._position = self._start_position = saved.position

    def stats(self) -> dict[str, Any]:
        """Counters since the loader was built: clips, seconds by stage, waiting, bad samples."""
        return {
            "epoch": self._epoch,
            "position": self._position,
            "backend": self.backend,
            "quarantined": [asdict(sample) for sample in self._quarantine.samples()],
            **asdict(self._pipeline.counts()),
        }

    def close(self) -> None:
        """Stop all workers. Safe to call twice."""
        self._closed = True
        self._pipeline.close()

    def __enter__(self) -> Self:
        """The loader itself."""
        return self

    def __exit__(self, *reason: object) -> None:
        """Close."""
        self.close()

    def _deliver(
        self, batches: Generator[ClipBatch], epoch: int, position: int
    ) -> Iterator[ClipBatch]:
        counted = (epoch, position)
        with contextlib.closing(batches):
            for batch in batches:
                delivered = move_batch(batch, self.device)
                # A position of its own: after set_epoch() or load_state_dict() it is not ours.
                if (self._epoch, self._position) == counted:
                    counted = (epoch, self._position + self._tasks.global_batch_size)
                    self._position, self._start_position = counted[1], None
                yield delivered
                if self._running is not batches:
                    raise LoaderClosed("a newer iterator of this loader has taken over")
        if (self._epoch, self._position) == counted:
            self._epoch, self._position, self._start_position = epoch + 1, 0, 0

    def _build_pipeline(self, choice: PipelineChoice) -> ClipPipeline:
        # The length of the extras must be one for all batches; the first sample sets it.
        fps = self._reader.info(0).fps if self.clip.extras else 30.0
        return build_pipeline(
            choice,
            SampleSource(self._reader, clip=self.clip, seed=self.config.seed),
            clip=self.clip,
            config=self.config,
            facts=DatasetFacts.of(self.manifest, nominal_fps=fps),
            world=self.world,
            quarantine=self._quarantine,
            trial=lambda: next(self._tasks.batches(epoch=0, position=0)),
        )
