"""Tar shards -> batches through WebDataset: the common part of the WebDataset peers.

Settings: samples are decoded and batched in DataLoader workers that repeat the dataset without
end, so nothing drains between epochs. Shards are dealt out to the workers; where there are fewer
shards than workers, samples are (reading past another worker's costs microseconds from the page
cache). Two batches a worker are prefetched (torch's default).
"""

from __future__ import annotations

import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal

import webdataset

from benchmarks.throughput.contract import BenchBatch, BenchClip, BenchData
from benchmarks.throughput.peers.decoders import Decode
from benchmarks.throughput.peers.packed_members import made_once
from benchmarks.throughput.peers.torch_batches import collate, loader_batches
from benchmarks.throughput.peers.worker_clips import KeyedClip, WorkerClips

SOURCES_PER_SHARD: Final = 64
# Its names are taken from its modules when it is imported, which no type checker can follow.
wds: Any = webdataset


@dataclass(slots=True, kw_only=True)
class WebDatasetPeer:
    """WebDataset with one decoder, on the packed shards or on tars of the source files."""

    name: str
    decode: Decode
    load: Callable[[], Any]
    """Loads the decoder before the workers fork, so that they share its memory."""
    reads: Literal["packed", "derived", "sources"] = "packed"

    def prepare(self, data: BenchData) -> None:
        """Tar the source files, unchanged, if it reads those."""
        self.load()
        if self.reads == "derived":
            tar_sources(data)

    def batches(
        self, data: BenchData, clip: BenchClip, *, num_workers: int
    ) -> Iterator[BenchBatch]:
        """Batches without end."""
        self.load()
        clips = WorkerClips(clip, self.decode)
        if self.reads == "packed":
            urls = packed_shards(data)
            make = partial(_packed_clip, clips)
        else:
            urls = sorted(map(str, _source_folder(data).glob("*.tar")))
            make = partial(_source_clip, clips)
        return loader_batches(partial(_loader, urls, make, clip.batch_size, num_workers))


def packed_shards(data: BenchData) -> list[str]:
    """Paths of the packed tars."""
    return sorted(map(str, (data.packed / "train").glob("*.tar")))


def tar_sources(data: BenchData) -> None:
    """{key}.mp4 of every source file in WebDataset tars under `derived`, once."""
    made_once(_source_folder(data), partial(_write_tars, sorted(data.sources.glob("*.mp4"))))


def _write_tars(paths: list[Path], folder: Path) -> None:
    for first in range(0, len(paths), SOURCES_PER_SHARD):
        with tarfile.open(folder / f"{first // SOURCES_PER_SHARD:06d}.tar", "w") as tar:
            for path in paths[first : first + SOURCES_PER_SHARD]:
                tar.add(path, arcname=path.name)


def _source_folder(data: BenchData) -> Path:
    return data.derived / "source-tars"


def _loader(
    urls: list[str],
    make: Callable[[dict[str, Any]], KeyedClip],
    batch_size: int,
    num_workers: int,
) -> Any:
    by_shard = len(urls) >= num_workers
    dataset = wds.DataPipeline(
        partial(endless, urls),
        wds.split_by_worker if by_shard else _all,
        wds.tarfile_to_samples(),
        _all if by_shard else wds.split_by_worker,
        wds.map(make),
        wds.batched(batch_size, collation_fn=collate),
    )
    return wds.WebLoader(dataset, batch_size=None, num_workers=num_workers, prefetch_factor=2)


def endless(urls: list[str]) -> Iterator[dict[str, str]]:
    """URLs as WebDataset takes them, again and again."""
    while True:
        yield from ({"url": url} for url in urls)


def _all(stream: Iterator[Any]) -> Iterator[Any]:
    return stream


def _packed_clip(clips: WorkerClips, sample: dict[str, Any]) -> KeyedClip:
    return clips.packed(sample["__key__"], sample["mp4"], sample["flac"])


def _source_clip(clips: WorkerClips, sample: dict[str, Any]) -> KeyedClip:
    return clips.source(sample["__key__"], sample["mp4"])
