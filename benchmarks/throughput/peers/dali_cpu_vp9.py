"""DALI on the CPU: VP9 of the same pictures -> decode and resize in DALI, planes in threads.

Settings: DALI's CPU decoder takes VP8, VP9 and MJPEG only, so the packed videos are coded again as
VP9 of about the same size (libvpx, GOP 16). It decodes from the first frame of what it is given, so
each sample's packets are cut to the window's GOPs first, which saves a quarter and decodes nothing.
DALI has no flow on the CPU and its mel would be another one: the planes are made by as many threads
as DALI has, while DALI decodes the next batch.
"""

from __future__ import annotations

import io
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import av
import numpy as np

from benchmarks.throughput.contract import BenchBatch, BenchClip, BenchData, Contestant
from benchmarks.throughput.peers.libraries import library
from benchmarks.throughput.peers.packed_members import made_once, packed_members
from benchmarks.throughput.peers.tar_streams import endless, wds
from benchmarks.throughput.recipe import ClipMaker, FrameWindow, centre_window, flac_reader

if TYPE_CHECKING:
    from numpy.typing import NDArray

_VP9: Final = {
    "crf": "34", "b": "0", "g": "16", "keyint_min": "16", "deadline": "realtime", "cpu-used": "5",
    "row-mt": "0", "lag-in-frames": "0", "auto-alt-ref": "0", "threads": "1",
}  # fmt: skip
_BATCHES_AHEAD: Final = 2
_SAMPLES_PER_SHARD: Final = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class _Cut:
    """A sample as DALI gets it: the GOPs of its window."""

    key: str
    flac: bytes
    webm: bytes
    window: FrameWindow
    frames: NDArray[np.int32]
    """`window.wanted`, counted from the first frame in `webm`."""
    fps: float


class DaliPeer:
    """DALI, CPU only."""

    name: str = "DALI CPU (VP9)"
    reads: Literal["packed", "derived", "sources"] = "derived"

    def prepare(self, data: BenchData) -> None:
        """Code the packed videos as VP9, beside the same FLAC, in tars."""
        library("nvidia.dali")
        made_once(_folder(data), partial(_write, data))

    def batches(
        self, data: BenchData, clip: BenchClip, *, num_workers: int
    ) -> Iterator[BenchBatch]:
        """Batches without end."""
        pending: deque[tuple[list[str], list[Future[NDArray[np.uint8]]]]] = deque()
        local = threading.local()
        with ThreadPoolExecutor(num_workers, "planes") as pool:
            for cuts, pictures in _decoded(_cuts(data, clip), clip, num_workers):
                make = partial(_planes, local, clip)
                jobs = [pool.submit(make, *pair) for pair in zip(cuts, pictures, strict=True)]
                pending.append(([cut.key for cut in cuts], jobs))
                if len(pending) > _BATCHES_AHEAD:
                    keys, ready = pending.popleft()
                    planes = np.stack([job.result() for job in ready])
                    yield BenchBatch(keys=tuple(keys), clip_BCTHW=planes)


def _decoded(
    cuts: Iterator[_Cut], clip: BenchClip, num_threads: int
) -> Iterator[tuple[list[_Cut], list[NDArray[np.uint8]]]]:
    """Batches of cuts with their pictures [N, H, W, 3]; DALI works on the next ones meanwhile."""
    fed: deque[list[_Cut]] = deque()

    def source() -> tuple[list[Any], list[Any]]:
        batch = [next(cuts) for _ in range(clip.batch_size)]
        fed.append(batch)
        return [np.frombuffer(cut.webm, np.uint8) for cut in batch], [cut.frames for cut in batch]

    pipeline = _pipeline(source, clip, num_threads)
    while True:
        (pictures,) = pipeline.run()
        # DALI writes the next batch into the same memory.
        yield fed.popleft(), [np.array(pictures.at(k)) for k in range(clip.batch_size)]


def _pipeline(source: Any, clip: BenchClip, num_threads: int) -> Any:
    dali, fn = library("nvidia.dali"), library("nvidia.dali.fn")
    pipeline = dali.Pipeline(
        batch_size=clip.batch_size,
        num_threads=num_threads,
        device_id=None,
        prefetch_queue_depth=_BATCHES_AHEAD,
    )
    with pipeline:
        encoded, frames = fn.external_source(
            source, num_outputs=2, dtype=[dali.types.UINT8, dali.types.INT32], ndim=[1, 1]
        )
        pictures = fn.decoders.video(encoded, device="cpu", frames=frames, pad_mode="edge")
        height, width = clip.size
        pipeline.set_outputs(
            fn.resize(
                pictures,
                resize_x=width,
                resize_y=height,
                interp_type=dali.types.INTERP_LINEAR,
                antialias=True,
            )
        )
    pipeline.build()
    return pipeline


def _planes(
    local: threading.local, clip: BenchClip, cut: _Cut, pictures_NHW3: NDArray[np.uint8]
) -> NDArray[np.uint8]:
    if not hasattr(local, "maker"):
        local.maker = ClipMaker(clip)
    maker: ClipMaker = local.maker
    return maker.make(pictures_NHW3, cut.window, fps=cut.fps, read_sound=flac_reader(cut.flac))


def _folder(data: BenchData) -> Path:
    return data.derived / "vp9-tars"


def _cuts(data: BenchData, clip: BenchClip) -> Iterator[_Cut]:
    urls = sorted(map(str, _folder(data).glob("*.tar")))
    for sample in wds.DataPipeline(partial(endless, urls), wds.tarfile_to_samples()):
        yield _cut(sample["__key__"], sample["webm"], sample["flac"], clip)


def _cut(key: str, video: bytes, flac: bytes, clip: BenchClip) -> _Cut:
    """Copy the packets from the keyframe before the window to its end."""
    webm = io.BytesIO()
    with av.open(io.BytesIO(video), "r") as whole, av.open(webm, "w", format="webm") as part:
        stream = whole.streams.video[0]
        fps = float(stream.average_rate or 0)
        packets = [packet for packet in whole.demux(stream) if packet.size]
        window = centre_window(len(packets), clip)
        wanted = np.array(window.wanted)
        first = max(k for k in range(wanted[0] + 1) if packets[k].is_keyframe)
        copy = part.add_stream_from_template(stream)
        for packet in packets[first : wanted[-1] + 1]:
            packet.stream = copy
            part.mux(packet)
    return _Cut(
        key=key,
        flac=flac,
        webm=webm.getvalue(),
        window=window,
        frames=(wanted - first).astype(np.int32),
        fps=fps,
    )


def _write(data: BenchData, folder: Path) -> None:
    samples = list(packed_members(data))
    for first in range(0, len(samples), _SAMPLES_PER_SHARD):
        path = folder / f"{first // _SAMPLES_PER_SHARD:06d}.tar"
        with wds.TarWriter(str(path)) as tar:
            _write_shard(tar, samples[first : first + _SAMPLES_PER_SHARD])


def _write_shard(tar: Any, samples: Sequence[tuple[str, bytes, bytes]]) -> None:
    for key, video, flac in samples:
        tar.write({"__key__": key, "webm": _as_vp9(video), "flac": flac})


def _as_vp9(video: bytes) -> bytes:
    webm = io.BytesIO()
    with av.open(io.BytesIO(video), "r") as source, av.open(webm, "w", format="webm") as target:
        stream = source.streams.video[0]
        encoder = target.add_stream("libvpx-vp9", rate=stream.average_rate, options=_VP9)
        encoder.width, encoder.height, encoder.pix_fmt = stream.width, stream.height, "yuv420p"
        for frame in source.decode(stream):
            frame.pict_type = 0
            target.mux(encoder.encode(frame))
        target.mux(encoder.encode(None))
    return webm.getvalue()


CONTESTANT: Final[Contestant] = DaliPeer()
