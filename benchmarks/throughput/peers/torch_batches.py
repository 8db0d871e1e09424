"""Clips -> batches in shared memory, and a DataLoader -> `BenchBatch`."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, default_collate

from benchmarks.throughput.contract import BenchBatch
from benchmarks.throughput.peers.worker_clips import KeyedClip

KeyedBatch = tuple[list[str], Tensor]


def collate(clips: Sequence[KeyedClip]) -> KeyedBatch:
    """Stack; inside a worker straight into shared memory, so that only a handle is sent."""
    keys, planes = zip(*clips, strict=True)
    return list(keys), default_collate([torch.from_numpy(plane) for plane in planes])


def bench_batches(batches: Iterable[KeyedBatch]) -> Iterator[BenchBatch]:
    """The main process's side: no copy."""
    for keys, clip in batches:
        yield BenchBatch(keys=tuple(keys), clip_BCTHW=clip.numpy())


def loader_batches(make_loader: Callable[[], DataLoader[Any]]) -> Iterator[BenchBatch]:
    """Epoch after epoch of a loader; its workers end when this iterator is closed or dropped."""
    loader = make_loader()
    try:
        for _ in itertools.count():
            yield from bench_batches(loader)
    finally:
        # Persistent workers end with the loader's own iterator.
        loader._iterator = None  # pyright: ignore[reportPrivateUsage]
