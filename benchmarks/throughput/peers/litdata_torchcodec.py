"""LitData + torchcodec: chunks of the same bytes, StreamingDataset and its loader.

Settings: 64 MB chunks without compression (the members are compressed), decoding in the dataset's
`transform`, workers that stay from epoch to epoch, two batches a worker prefetched.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal

from benchmarks.throughput.contract import BenchBatch, BenchClip, BenchData, Contestant
from benchmarks.throughput.peers.decoders import torchcodec_pictures
from benchmarks.throughput.peers.libraries import library, torchcodec_decoders
from benchmarks.throughput.peers.packed_members import made_once, packed_members
from benchmarks.throughput.peers.torch_batches import collate, loader_batches
from benchmarks.throughput.peers.worker_clips import KeyedClip, WorkerClips

# The library would ask the package registry for a newer version whenever a dataset is made.
os.environ.setdefault("LITDATA_DISABLE_VERSION_CHECK", "1")


class LitDataPeer:
    """LitData."""

    name: str = "LitData + torchcodec"
    reads: Literal["packed", "derived", "sources"] = "derived"

    def prepare(self, data: BenchData) -> None:
        """Write the packed members as chunks."""
        torchcodec_decoders()
        library("litdata")
        made_once(_folder(data), partial(_write, data))

    def batches(
        self, data: BenchData, clip: BenchClip, *, num_workers: int
    ) -> Iterator[BenchBatch]:
        """Batches without end."""
        torchcodec_decoders()
        clips = WorkerClips(clip, torchcodec_pictures)
        return loader_batches(partial(_loader, data, clips, clip.batch_size, num_workers))


def _folder(data: BenchData) -> Path:
    return data.derived / "litdata"


def _write(data: BenchData, folder: Path) -> None:
    # What `optimize` writes with in its processes; few samples need none.
    cache = library("litdata.streaming.cache").Cache(str(folder), chunk_bytes="64MB")
    for index, (key, video, sound) in enumerate(packed_members(data)):
        cache[index] = {"key": key, "video": video, "sound": sound}
    cache.done()
    cache.merge()


def _loader(data: BenchData, clips: WorkerClips, batch_size: int, num_workers: int) -> Any:
    litdata = library("litdata")
    dataset = _dataset_class()(str(_folder(data)), shuffle=False, transform=partial(_clip, clips))
    return litdata.StreamingDataLoader(
        dataset,
        batch_size=batch_size,
        num_workers=num_workers,
        collate_fn=collate,
        prefetch_factor=2,
        persistent_workers=True,
    )


def _dataset_class() -> Any:
    """The dataset, repeated; a class of a library that may be absent is made when needed."""
    base: Any = library("litdata").StreamingDataset

    class Endless(base):
        def __iter__(self) -> Iterator[KeyedClip]:
            while True:
                super().__iter__()
                # Between two epochs only this worker starts anew.
                with contextlib.suppress(StopIteration):
                    while True:
                        yield super().__next__()

    return Endless


def _clip(clips: WorkerClips, sample: dict[str, Any]) -> KeyedClip:
    return clips.packed(sample["key"], sample["video"], sample["sound"])


CONTESTANT: Final[Contestant] = LitDataPeer()
