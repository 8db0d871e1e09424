"""A plain torch Dataset on the source files + DataLoader: what a training script starts with.

Settings: torchcodec (approximate seek) reads each file by path and cv2 scales, the quickest found
on the sources; workers that stay, fed by a sampler without end, so that nothing drains between
epochs; two batches a worker prefetched.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal

from torch.utils.data import DataLoader, Dataset, Sampler

from benchmarks.throughput.contract import BenchBatch, BenchClip, BenchData, Contestant
from benchmarks.throughput.peers.decoders import torchcodec_pictures
from benchmarks.throughput.peers.libraries import torchcodec_decoders
from benchmarks.throughput.peers.torch_batches import collate, loader_batches
from benchmarks.throughput.peers.worker_clips import KeyedClip, WorkerClips


class SourceFiles(Dataset[KeyedClip]):
    """One clip a file."""

    def __init__(self, paths: list[Path], clips: WorkerClips) -> None:
        """Remember the files."""
        self.paths = paths
        self._clips = clips

    def __len__(self) -> int:
        """How many files."""
        return len(self.paths)

    def __getitem__(self, index: int) -> KeyedClip:
        """(key, clip) of a file."""
        path = self.paths[index]
        return self._clips.source(path.stem, path)


class EndlessOrder(Sampler[int]):
    """0, 1, ... n - 1, 0, 1, ... without end."""

    def __init__(self, num_samples: int) -> None:
        """Remember n."""
        self._num_samples = num_samples

    def __iter__(self) -> Iterator[int]:
        """The order."""
        while True:
            yield from range(self._num_samples)


class TorchDatasetPeer:
    """Dataset and DataLoader, nothing else."""

    name: str = "torch Dataset + torchcodec, sources"
    reads: Literal["packed", "derived", "sources"] = "sources"

    def prepare(self, data: BenchData) -> None:
        """Nothing to convert."""
        del data
        torchcodec_decoders()

    def batches(
        self, data: BenchData, clip: BenchClip, *, num_workers: int
    ) -> Iterator[BenchBatch]:
        """Batches without end."""
        torchcodec_decoders()
        paths = sorted(data.sources.glob("*.mp4"))
        files = SourceFiles(paths, WorkerClips(clip, torchcodec_pictures))
        return loader_batches(partial(_loader, files, clip.batch_size, num_workers))


def _loader(files: SourceFiles, batch_size: int, num_workers: int) -> DataLoader[Any]:
    return DataLoader(
        files,
        batch_size,
        sampler=EndlessOrder(len(files)),
        num_workers=num_workers,
        collate_fn=collate,
        prefetch_factor=2,
    )


CONTESTANT: Final[Contestant] = TorchDatasetPeer()
