"""SPDL: a pipeline of threads in one process; tar -> demux -> decode + scale -> planes -> batch.

Settings: demux and decode only the window (seek by time), drop unwanted frames and scale inside
FFmpeg's filter graph before RGB is made, one FFmpeg thread a decode, one more pool thread for the
reader than there are clips in the making, and batches stacked off the consumer's thread.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np

from benchmarks.throughput.contract import BenchBatch, BenchClip, BenchData, Contestant
from benchmarks.throughput.peers.decoders import Pictures
from benchmarks.throughput.peers.libraries import library, spdl_io
from benchmarks.throughput.peers.tar_streams import packed_shards
from benchmarks.throughput.peers.worker_clips import KeyedClip
from benchmarks.throughput.recipe import ClipMaker, centre_window, flac_reader

_PREFETCHED_BATCHES: Final = 3


class SpdlPeer:
    """SPDL's threads."""

    name: str = "SPDL"
    reads: Literal["packed", "derived", "sources"] = "packed"

    def prepare(self, data: BenchData) -> None:
        """Nothing to convert."""
        del data
        spdl_io()

    def batches(
        self, data: BenchData, clip: BenchClip, *, num_workers: int
    ) -> Iterator[BenchBatch]:
        """Batches without end."""
        builder = library("spdl.pipeline").PipelineBuilder()
        pipeline = (
            builder.add_source(_samples(packed_shards(data)))
            .pipe(partial(_clip, threading.local(), clip), concurrency=num_workers)
            .aggregate(clip.batch_size)
            .pipe(_stack)
            .add_sink(_PREFETCHED_BATCHES)
            .build(num_threads=num_workers + 1)
        )
        with pipeline.auto_stop():
            yield from pipeline


def _samples(urls: list[str]) -> Iterator[dict[str, Any]]:
    """Members of one sample together, epoch after epoch."""
    iter_tarfile = spdl_io().iter_tarfile
    while True:
        for url in urls:
            sample: dict[str, Any] = {}
            with Path(url).open("rb") as file:
                for name, content in iter_tarfile(file):
                    key, _, extension = name.partition(".")
                    if sample and key != sample["key"]:
                        yield sample
                        sample = {}
                    sample |= {"key": key, extension: bytes(content)}
            if sample:
                yield sample


def _clip(local: threading.local, clip: BenchClip, sample: dict[str, Any]) -> KeyedClip:
    if not hasattr(local, "maker"):
        local.maker = ClipMaker(clip)
    note = json.loads(sample["json"])
    pictures = _pictures(sample["mp4"], note["num_frames"], note["fps"], clip)
    planes_CTHW = local.maker.make(
        pictures.rgb_NHW3,
        pictures.window,
        fps=pictures.fps,
        read_sound=flac_reader(sample["flac"]),
    )
    return sample["key"], planes_CTHW


def _pictures(video: bytes, num_frames: int, fps: float, clip: BenchClip) -> Pictures:
    io = spdl_io()
    window = centre_window(num_frames, clip)
    # Half a frame's time on both sides, so that no rounding adds or loses one.
    start, end = (window.wanted[0] - 0.5) / fps, (window.wanted[-1] + 0.5) / fps
    packets = io.demux_video(video, timestamp=(max(start, 0.0), end))
    frames = io.decode_packets(
        packets,
        filter_desc=(
            f"trim=start={start}:end={end},select='not(mod(n,{clip.frame_stride}))',"
            f"scale=w={clip.size[1]}:h={clip.size[0]}:flags=bilinear,format=pix_fmts=rgb24"
        ),
    )
    rgb_NHW3 = io.to_numpy(io.convert_frames(frames))
    return Pictures(rgb_NHW3=rgb_NHW3, window=window, fps=fps)


def _stack(clips: Sequence[KeyedClip]) -> BenchBatch:
    keys, planes = zip(*clips, strict=True)
    return BenchBatch(keys=keys, clip_BCTHW=np.stack(planes))


CONTESTANT: Final[Contestant] = SpdlPeer()
