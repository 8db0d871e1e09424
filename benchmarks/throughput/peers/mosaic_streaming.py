"""Mosaic Streaming + torchcodec: MDS shards of the same bytes, and its dataset in a DataLoader.

Settings: local MDS without compression (the members are compressed), 64 MiB shards, decoding in the
dataset's `__getitem__` as its guide shows, workers that stay from epoch to epoch, two batches a
worker prefetched, `batch_size` given to the dataset so that each worker serves whole batches.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal

from torch.utils.data import DataLoader

from benchmarks.throughput.contract import BenchBatch, BenchClip, BenchData, Contestant
from benchmarks.throughput.peers.decoders import torchcodec_pictures
from benchmarks.throughput.peers.libraries import library, torchcodec_decoders
from benchmarks.throughput.peers.packed_members import made_once, packed_members
from benchmarks.throughput.peers.torch_batches import collate, loader_batches
from benchmarks.throughput.peers.worker_clips import KeyedClip, WorkerClips

_COLUMNS: Final = {"key": "str", "video": "bytes", "sound": "bytes"}
_SHARD_BYTES: Final = 64 << 20


class MosaicPeer:
    """Mosaic Streaming."""

    name: str = "Mosaic Streaming + torchcodec"
    reads: Literal["packed", "derived", "sources"] = "derived"

    def prepare(self, data: BenchData) -> None:
        """Write the packed members as MDS."""
        torchcodec_decoders()
        library("streaming")
        made_once(_folder(data), partial(_write, data))

    def batches(
        self, data: BenchData, clip: BenchClip, *, num_workers: int
    ) -> Iterator[BenchBatch]:
        """Batches without end."""
        torchcodec_decoders()
        clips = WorkerClips(clip, torchcodec_pictures)
        # Shared memory of a run that was killed would be taken for this one's.
        library("streaming.base.util").clean_stale_shared_memory()
        dataset = _dataset_class()(clips, _folder(data), clip.batch_size)
        make = partial(
            DataLoader[Any],
            dataset,
            clip.batch_size,
            num_workers=num_workers,
            collate_fn=collate,
            prefetch_factor=2,
            persistent_workers=True,
        )
        return loader_batches(make)


def _folder(data: BenchData) -> Path:
    return data.derived / "mosaic"


def _write(data: BenchData, folder: Path) -> None:
    writer = library("streaming").MDSWriter(
        out=str(folder), columns=_COLUMNS, size_limit=_SHARD_BYTES
    )
    with writer as out:
        for key, video, sound in packed_members(data):
            out.write({"key": key, "video": video, "sound": sound})


def _dataset_class() -> Any:
    """The dataset with decoding; a class of a library that may be absent is made when needed."""
    base: Any = library("streaming").StreamingDataset

    class Clips(base):
        def __init__(self, clips: WorkerClips, folder: Path, batch_size: int) -> None:
            super().__init__(local=str(folder), batch_size=batch_size, shuffle=False)
            self._clips = clips

        def __iter__(self) -> Iterator[KeyedClip]:
            while True:
                yield from super().__iter__()

        def __getitem__(self, at: int) -> KeyedClip:
            sample = super().__getitem__(at)
            return self._clips.packed(sample["key"], sample["video"], sample["sound"])

    return Clips


CONTESTANT: Final[Contestant] = MosaicPeer()
