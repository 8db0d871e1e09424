"""Files and frame indices -> pictures, through a bare DALI graph: what the checks ask it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from benchmarks.throughput.peers.libraries import library

if TYPE_CHECKING:
    from numpy.typing import NDArray


def decoded(
    files: Sequence[bytes],
    frames: Sequence[Sequence[int]],
    *,
    device: str,
    num_threads: int = 2,
    **options: Any,
) -> list[NDArray[np.uint8]]:
    """Each file's frames, uint8 [N, H, W, 3]; `options` go to the decoder."""
    batch = [np.frombuffer(file, np.uint8) for file in files], _indices(frames)
    graph = _graph(batch, len(files), device=device, num_threads=num_threads, options=options)
    (pictures,) = graph.run()
    on_host = pictures if device == "cpu" else pictures.as_cpu()
    return [np.array(on_host.at(k)) for k in range(len(files))]


def seconds_a_batch(
    files: Sequence[bytes],
    frames: Sequence[Sequence[int]],
    *,
    device: str,
    num_threads: int,
    rounds: int,
    **options: Any,
) -> float:
    """The median of some rounds after the first, with the host waiting for each."""
    batch = [np.frombuffer(file, np.uint8) for file in files], _indices(frames)
    graph = _graph(batch, len(files), device=device, num_threads=num_threads, options=options)
    spent: list[float] = []
    for _ in range(rounds + 1):
        start = time.perf_counter()
        graph.run()
        if device != "cpu":
            torch.cuda.current_stream().synchronize()
        spent.append(time.perf_counter() - start)
    return float(np.median(spent[1:]))


def _indices(frames: Sequence[Sequence[int]]) -> list[NDArray[np.int32]]:
    return [np.array(list(indices), np.int32) for indices in frames]


def _graph(
    batch: Any, batch_size: int, *, device: str, num_threads: int, options: dict[str, Any]
) -> Any:
    dali, fn = library("nvidia.dali"), library("nvidia.dali.fn")
    graph = dali.Pipeline(
        batch_size=batch_size,
        num_threads=num_threads,
        device_id=None if device == "cpu" else int(device.partition(":")[2] or 0),
        prefetch_queue_depth=1,
    )
    with graph:
        encoded, frames = fn.external_source(
            lambda: batch, num_outputs=2, dtype=[dali.types.UINT8, dali.types.INT32], ndim=[1, 1]
        )
        graph.set_outputs(
            fn.decoders.video(
                encoded,
                device="cpu" if device == "cpu" else "mixed",
                frames=frames,
                pad_mode="edge",
                affine=False,
                **options,
            )
        )
    graph.build()
    return graph
