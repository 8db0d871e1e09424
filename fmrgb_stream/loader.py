"""build_loader(): the whole data path, top to bottom.

plan (shards/plan) -> reader (shards/reader) -> window (clips/sampling) -> planes
(pipelines/cpu or pipelines/dali) -> batch. Every sample exactly once an epoch over all ranks, every rank the same
number of batches, and a state of one position that is committed when a batch is delivered.
"""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterator, Sequence
from dataclasses import asdict
from typing import Any, Self

from fmrgb_stream.clips.dataset import OpenDataset, Root, list_sources, open_dataset
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
from fmrgb_stream.errors import LoaderClosed
from fmrgb_stream.pipelines.choice import (
    ON_CPU,
    Backend,
    DatasetFacts,
    PipelineChoice,
    build_pipeline,
    choose_pipeline,
)
from fmrgb_stream.pipelines.delivery import Deliveries
from fmrgb_stream.pipelines.devices import move_batch
from fmrgb_stream.pipelines.epochs import EpochStream
from fmrgb_stream.pipelines.quarantine import Quarantine
from fmrgb_stream.sample import ClipBatch
from fmrgb_stream.shards import EpochCursor, RankTasks
from fmrgb_stream.shards.position import EpochPlace, EpochPosition
from fmrgb_stream.storage import CacheSettings, Store
from fmrgb_stream.storage.places import DEFAULT_CACHE_BYTES


def build_loader(
    root: Root | None = None,
    *,
    sources: Sequence[Root | tuple[Root, float]] | None = None,
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
    prefetch_bytes: int = 1 << 30,
    on_bad_sample: BadSampleRule = "substitute",
    max_bad_fraction: float = 0.05,
    video_decoder: VideoDecoder = "auto",
    decode: DecodePlace = "auto",
    verify_checksums: bool = True,
    cache_dir: Root | None = None,
    cache_bytes: int = DEFAULT_CACHE_BYTES,
    audit_log: Root | None = None,
    world: WorldInfo | None = None,
) -> ClipLoader:
    """Open a packed dataset, or a mixture of several, for training or evaluation.

    A mixture's epoch has as many clips as its sources together. Each source gives its weight's share
    of them, mixed evenly over the epoch. Whatever the weights, a source's clips are given exactly
    once per pass over it, and an epoch goes on where the one before ended, in the middle of a pass
    and with what a dropped tail left. Order and resume are as with one dataset.

    Args:
        root: Folder or URL (file, s3, gs, az, http, https) that holds manifest.json.
        sources: Instead of root, [(root, weight), ...] to mix; roots alone take every clip once an
            epoch. Classes, targets and sound rate must be the same.
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
        prefetch_bytes: Memory they may take; one batch is always in the making.
        on_bad_sample: `substitute` a neighbour (counted and listed) or `raise`.
        max_bad_fraction: Stop when more than this share of the samples (at least 8) were bad.
        video_decoder: `auto`, or one by name.
        decode: With DALI, where: `nvdec`, `host`, `hybrid`, or `auto`, by a short trial.
        verify_checksums: Check every member against the index.
        cache_dir: Folder on this machine where shards of a remote root are kept, for all processes.
        cache_bytes: At most so much is kept there; 64 GiB by default.
        audit_log: Folder to note the id of every delivered clip in, for `fmrgb audit`.
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
        prefetch_bytes=prefetch_bytes,
        on_bad_sample=on_bad_sample,
        max_bad_fraction=max_bad_fraction,
        video_decoder=video_decoder,
        decode=decode,
        verify_checksums=verify_checksums,
        audit_log=None if audit_log is None else str(audit_log),
    )
    roots, weights = list_sources(root, sources)
    shown, here = clip or ClipConfig(), world or WorldInfo.from_environment()
    choice = choose_pipeline(backend, device, shown, world=here)
    cache = CacheSettings.of(cache_dir, cache_bytes)
    stores = [Store(root, cache=cache) for root in roots]
    dataset = open_dataset(stores, weights, split=split, clip=shown, config=config)
    return ClipLoader(dataset, split=split, clip=shown, config=config, world=here, choice=choice)


class ClipLoader:
    """One epoch's batches; knows its place and can be put back to it.

    `iter()` plays the current epoch from its start, or from the loaded position if nothing was
    delivered since `load_state_dict`. When all of an epoch was delivered, the next `iter()` plays
    the next one. One iterator at a time: a new one ends the one before. Use it from one thread;
    close it, or use `with`.
    """

    def __init__(
        self,
        dataset: OpenDataset,
        *,
        split: str,
        clip: ClipConfig,
        config: LoaderConfig,
        world: WorldInfo,
        choice: PipelineChoice = ON_CPU,
    ) -> None:
        """See `build_loader`."""
        self.manifest = dataset.manifest
        self.sources = dataset.sources
        self.split = split
        self.clip = clip
        self.config = config
        self.world = world
        self.device = choice.device
        self.backend = choice.backend
        self._dataset = dataset
        self._tasks = RankTasks(order=dataset.order, config=config, world=world)
        self._tasks.check_not_empty(split)
        self._cursor = EpochCursor(self._tasks)
        self._running: Generator[ClipBatch] | None = None
        self._closed = False
        self._quarantine = Quarantine(
            config.on_bad_sample,
            max_bad_fraction=config.max_bad_fraction,
            num_samples=self.num_samples,
        )
        self._pipeline = build_pipeline(
            choice,
            dataset.clips,
            clip=clip,
            config=config,
            facts=DatasetFacts.of(dataset, clip),
            world=world,
            quarantine=self._quarantine,
            trial=lambda: next(self._tasks.batches(EpochPlace())),
        )
        self._stream = EpochStream(self._pipeline, self._tasks)
        self._deliveries = Deliveries.of(dataset, config=config, world=world)

    @property
    def num_clips(self) -> int:
        """Clips an epoch: samples, or all their sliding windows."""
        return self._tasks.num_clips

    @property
    def num_samples(self) -> int:
        """Samples of the split; of a mixture, of all sources."""
        return self._dataset.num_samples

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names by label index."""
        return self.manifest.classes

    @property
    def epoch(self) -> int:
        """The epoch that the next `iter()` plays, or that is being played."""
        return self._cursor.place.epoch

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
        is_loaded = self._cursor.is_loaded
        place = self._cursor.begin()
        self._running = self._stream.batches(place)
        return self._deliver(self._running, place, is_loaded=is_loaded)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that the next `iter()` plays; a loaded position in it is kept.

        An iterator that is running goes on with its own epoch, but is not counted any more.
        """
        self._cursor.choose(epoch)

    def state_dict(self) -> dict[str, Any]:
        """Where the epoch stands, counting delivered batches: plain numbers and strings."""
        return EpochPosition(
            place=self._cursor.place,
            seed=self.config.seed,
            fingerprint=self._dataset.fingerprint,
        ).to_state()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go to where a loader of the same data and settings stood, on any number of processes.

        Raises:
            StateMismatch: the state is of an unknown version, other data, or other settings.
        """
        saved = EpochPosition.from_state(
            state, seed=self.config.seed, fingerprint=self._dataset.fingerprint
        )
        self._cursor.load(saved.place)

    def stats(self) -> dict[str, Any]:
        """Counters since the loader was built (`PipelineCounts`), bad samples, and each source's."""
        return {
            "epoch": self._cursor.place.epoch,
            "position": self._cursor.place.position,
            "backend": self.backend,
            "sources": self._deliveries.by_source(),
            "quarantined": [asdict(sample) for sample in self._quarantine.samples()],
            **asdict(self._pipeline.counts()),
        }

    def close(self) -> None:
        """Stop all workers. Safe to call twice."""
        self._closed = True
        self._pipeline.close()
        self._deliveries.close()

    def __enter__(self) -> Self:
        """The loader itself."""
        return self

    def __exit__(self, *reason: object) -> None:
        """Close."""
        self.close()

    def _deliver(
        self, batches: Generator[ClipBatch], counted: EpochPlace, *, is_loaded: bool
    ) -> Iterator[ClipBatch]:
        self._deliveries.began(counted, is_loaded=is_loaded)
        played = counted
        with contextlib.closing(batches):
            for batch in batches:
                delivered = move_batch(batch, self.device)
                self._deliveries.delivered(played, delivered)
                played = played.moved(self._tasks.global_batch_size)
                counted = self._cursor.delivered(counted)
                yield delivered
                if self._running is not batches:
                    raise LoaderClosed("a newer iterator of this loader has taken over")
        self._cursor.ended(counted)
