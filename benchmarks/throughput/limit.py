"""The limit: the packed frames of each clip, decoded and scaled, and nothing else.

What no loader on this decoder can beat. Everything that a loader has to do beside decoding and
scaling is done before the clock or not at all: the index is read, the frames are chosen, the
packets lie ready in memory, the decoder context is open. One process a core, so that no
interpreter lock is shared. Flow and sound are not made.

`CONTESTANT` decodes every packet from the keyframe to the last frame that is wanted, as any program
on this decoder does. `SPARSE` leaves out the packets that no frame refers to and nobody wants, as our
loader does; it is no loader's job to know them, so it stands beside the limit as a second line.
`WRITING` and `SPARSE_WRITING` also write the scaled pictures into the batch, which costs some per
cent and lets the content check look at them; the others drop them.
"""

from __future__ import annotations

import itertools
import multiprocessing
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import TYPE_CHECKING, Any, Final, Literal

import av
import numpy as np
from av.codec.context import ThreadType
from av.video.codeccontext import VideoCodecContext
from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter

from benchmarks.throughput.contract import BenchBatch, BenchClip, BenchData
from fmrgb_stream.clips.h264 import is_disposable, nal_length_bytes
from fmrgb_stream.clips.sampling import plan_clip
from fmrgb_stream.config import ClipConfig
from fmrgb_stream.shards import Manifest, ShardReader
from fmrgb_stream.storage import Store

if TYPE_CHECKING:
    from av.packet import Packet
    from av.video.frame import VideoFrame
    from numpy.typing import NDArray

SLOTS: Final = 3
"""Batches a process may be ahead of the reader."""
_GBR_OF_RGB: Final = (2, 0, 1)
_NAME: Final = "limit: decode + scale"
_SPARSE_NAME: Final = "limit, unwanted B-frames left out"


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One clip, ready to be decoded."""

    key: str
    extradata: bytes
    packets: tuple[Packet[Any], ...]
    """From the keyframe before the first wanted frame to the last wanted one."""
    place_of: dict[int, int]
    """Time of a wanted frame -> its place in the clip; -1 for the one before the clip."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """The contestant."""

    name: str
    leaves_out: bool
    """Packets that no frame refers to and nobody wants."""
    writes_pictures: bool
    reads: Literal["packed", "derived", "sources"] = "packed"

    def prepare(self, data: BenchData) -> None:
        """Nothing: it reads what was packed."""

    def batches(
        self, data: BenchData, clip: BenchClip, *, num_workers: int
    ) -> Iterator[BenchBatch]:
        """Batches of whichever process is ready; the other planes stay 0.

        An array is overwritten `SLOTS` batches of its process later.
        """
        # Forked before any thread exists; so the shared memory needs no name and no clean-up.
        context = multiprocessing.get_context("fork")
        num_workers = min(num_workers, data.num_samples)
        shape = (SLOTS, clip.batch_size, clip.num_planes, clip.num_frames, *clip.size)
        slots_of: dict[Connection, NDArray[np.uint8]] = {}
        workers: list[BaseProcess] = []
        try:
            for worker in range(num_workers):
                memory = context.RawArray("B", int(np.prod(shape)))
                slots_SBCTHW = np.frombuffer(memory, np.uint8).reshape(shape)
                ours, theirs = context.Pipe()
                share = slice(worker, None, num_workers)
                arguments = (self, data, clip, share, slots_SBCTHW, theirs)
                process = context.Process(target=_work, args=arguments, daemon=True)
                process.start()
                theirs.close()
                workers.append(process)
                slots_of[ours] = slots_SBCTHW
            while True:
                for ready in wait(list(slots_of)):
                    assert isinstance(ready, Connection)
                    slot, keys = ready.recv()
                    yield BenchBatch(keys=keys, clip_BCTHW=slots_of[ready][slot])
                    ready.send(slot)
        finally:
            for process in workers:
                process.kill()
                process.join()


def jobs_of(data: BenchData, clip: BenchClip, share: slice, *, leaves_out: bool) -> list[Job]:
    """The clips of a share of the samples, read and planned."""
    store = Store(data.packed)
    reader = ShardReader(store, Manifest.load(store).split("train"))
    config = ClipConfig(
        num_frames=clip.num_frames,
        frame_stride=clip.frame_stride,
        size=clip.size,
        channels="rgb",
        window="centre",
    )
    sample_ids = range(reader.num_samples)[share]
    with_lead = clip.planes == "fmrgb"
    return [
        _job(reader, sample_id, config, with_lead=with_lead, leaves_out=leaves_out)
        for sample_id in sample_ids
    ]


def _job(
    reader: ShardReader, sample_id: int, config: ClipConfig, *, with_lead: bool, leaves_out: bool
) -> Job:
    sample = reader.read(sample_id, with_audio=False)
    table, video = sample.info.packets, sample.video
    if table is None or video is None or sample.info.codec != "h264":
        raise ValueError(f"sample {sample.info.key!r} has no H.264 packets in its index")
    plan = plan_clip(sample.info, config)
    packet_of = np.argsort(table.pts)
    places = {int(packet_of[frame]): place for place, frame in enumerate(plan.frame_indices)}
    if with_lead and plan.lead_index >= 0:
        places[int(packet_of[plan.lead_index])] = -1
    keys = np.flatnonzero(table.is_key)
    start = int(keys[keys <= min(places)][-1])
    length_bytes = nal_length_bytes(sample.info.extradata)
    packets: list[Packet[Any]] = []
    for at in range(start, max(places) + 1):
        offset, size = int(table.offsets[at]), int(table.sizes[at])
        content = video[offset : offset + size]
        if leaves_out and at not in places and is_disposable(content, length_bytes):
            continue
        packet = av.Packet(bytes(content))
        packet.pts = packet.dts = int(table.pts[at])
        packets.append(packet)
    return Job(
        key=sample.info.key,
        extradata=sample.info.extradata,
        packets=tuple(packets),
        place_of={int(table.pts[at]): place for at, place in places.items()},
    )


def decode_and_scale(
    context: VideoCodecContext, scaler: VideoReformatter, job: Job, size: tuple[int, int]
) -> Iterator[tuple[int, VideoFrame]]:
    """Each wanted frame's place and its planar picture, green first."""
    height, width = size
    for packet in (*job.packets, None):
        for frame in context.decode(packet):
            place = job.place_of.get(frame.pts or 0)
            if place is not None:
                yield (
                    place,
                    scaler.reformat(
                        frame,
                        width=width,
                        height=height,
                        format="gbrp",  # a tenth faster than rgb24
                        interpolation=Interpolation.BILINEAR,
                        src_colorspace=Colorspace.ITU601,
                        src_color_range=ColorRange.MPEG,
                        dst_color_range=ColorRange.JPEG,
                        threads=1,
                    ),
                )
    context.flush_buffers()


def write_picture(picture: VideoFrame, rgb_3HW: NDArray[np.uint8]) -> None:
    """Copy the three planes, red first."""
    for target_HW, plane_index in zip(rgb_3HW, _GBR_OF_RGB, strict=True):
        plane = picture.planes[plane_index]
        rows = np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, plane.line_size)
        target_HW[...] = rows[:, : plane.width]


def _work(
    limit: Limit,
    data: BenchData,
    clip: BenchClip,
    share: slice,
    slots_SBCTHW: NDArray[np.uint8],
    reader: Connection,
) -> None:
    """Decode this process's share for ever; runs until it is killed."""
    jobs = itertools.cycle(jobs_of(data, clip, share, leaves_out=limit.leaves_out))
    contexts: dict[bytes, VideoCodecContext] = {}
    scaler = VideoReformatter()
    free = list(range(SLOTS))
    while True:
        slot = free.pop() if free else reader.recv()
        keys: list[str] = []
        for clip_CTHW in slots_SBCTHW[slot]:
            job = next(jobs)
            context = contexts.get(job.extradata) or _open_context(job.extradata)
            contexts[job.extradata] = context
            for place, picture in decode_and_scale(context, scaler, job, clip.size):
                if limit.writes_pictures and place >= 0:
                    write_picture(picture, clip_CTHW[:3, place])
            keys.append(job.key)
        reader.send((slot, tuple(keys)))


def _open_context(extradata: bytes) -> VideoCodecContext:
    context = av.CodecContext.create("h264", "r")
    assert isinstance(context, VideoCodecContext)
    context.extradata = extradata
    context.thread_count = 1
    context.thread_type = ThreadType.NONE
    return context


CONTESTANT = Limit(name=_NAME, leaves_out=False, writes_pictures=False)
WRITING = Limit(name=_NAME, leaves_out=False, writes_pictures=True)
SPARSE = Limit(name=_SPARSE_NAME, leaves_out=True, writes_pictures=False)
SPARSE_WRITING = Limit(name=_SPARSE_NAME, leaves_out=True, writes_pictures=True)
