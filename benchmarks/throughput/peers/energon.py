"""Megatron-Energon + torchcodec: the packed tars as a crude WebDataset, cooked in a task encoder.

Settings: the tars are linked beside the `.nv-meta` that `energon prepare` writes; energon's own
decoding is off (its AVDecoder would convert every frame with PyAV), the cooker makes the clip with
torchcodec; no shuffle buffer, endless training data, prefetch of two batches a worker.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal

from benchmarks.throughput.contract import BenchBatch, BenchClip, BenchData, Contestant
from benchmarks.throughput.peers.decoders import torchcodec_pictures
from benchmarks.throughput.peers.libraries import library, torchcodec_decoders
from benchmarks.throughput.peers.packed_members import made_once
from benchmarks.throughput.peers.tar_streams import packed_shards
from benchmarks.throughput.peers.torch_batches import KeyedBatch, collate, loader_batches
from benchmarks.throughput.peers.worker_clips import WorkerClips

_DATASET: Final = "__module__: megatron.energon\n__class__: CrudeWebdataset\n"


class EnergonPeer:
    """Megatron-Energon."""

    name: str = "Megatron-Energon + torchcodec"
    reads: Literal["packed", "derived", "sources"] = "derived"

    def prepare(self, data: BenchData) -> None:
        """What `energon prepare` does: index the tars, name the splits and the kind of dataset."""
        torchcodec_decoders()
        library("megatron.energon")
        made_once(_folder(data), partial(_index, packed_shards(data)))

    def batches(
        self, data: BenchData, clip: BenchClip, *, num_workers: int
    ) -> Iterator[BenchBatch]:
        """Batches without end."""
        torchcodec_decoders()
        clips = WorkerClips(clip, torchcodec_pictures)
        return loader_batches(partial(_loader, data, clips, clip.batch_size, num_workers))


def _folder(data: BenchData) -> Path:
    return data.derived / "energon"


def _index(shards: list[str], folder: Path) -> None:
    for shard in shards:
        # A link of the file itself: the folder is renamed when it is complete.
        os.link(shard, folder / Path(shard).name)
    library("megatron.energon.flavors.webdataset").BaseWebdatasetFactory.prepare_dataset(
        folder,
        [Path(shard).name for shard in shards],
        split_parts_ratio=[("train", 1.0)],
        shuffle_seed=None,
        workers=1,
    )
    (folder / ".nv-meta" / "dataset.yaml").write_text(_DATASET, encoding="utf-8")


def _loader(data: BenchData, clips: WorkerClips, batch_size: int, num_workers: int) -> Any:
    energon = library("megatron.energon")
    workers = energon.WorkerConfig(rank=0, world_size=1, num_workers=num_workers)
    dataset = energon.get_train_dataset(
        str(_folder(data)),
        worker_config=workers,
        batch_size=batch_size,
        shuffle_buffer_size=None,
        max_samples_per_sequence=None,
        task_encoder=_task_encoder(clips),
    )
    return energon.get_loader(dataset, prefetch_factor=2, watchdog_timeout_seconds=None)


def _task_encoder(clips: WorkerClips) -> Any:
    """The clip is made by the cooker, the batch by `collate`.

    The classes are made here because the library they derive from may be absent.
    """
    energon = library("megatron.energon")

    @energon.stateless
    def cook(sample: dict[str, Any]) -> Any:
        key = str(sample["__key__"]).rpartition("/")[2]
        return clips.packed(key, sample["mp4"], sample["flac"])

    class ClipEncoder(energon.TaskEncoder):
        decoder = None
        cookers = (energon.Cooker(cook=cook),)

        def batch(self, samples: Sequence[Any]) -> KeyedBatch:
            return collate(samples)

    return ClipEncoder()


CONTESTANT: Final[Contestant] = EnergonPeer()
