"""S1: clips a second by where videos are decoded, against the CPU pipeline and bare decoding."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any, Final

import torch

import fmrgb_stream as fs
from benchmarks.generated import VideoShape, generated_samples, planned_clips
from benchmarks.gpu.decoding import seconds_a_batch
from benchmarks.gpu.outcome import Outcome
from benchmarks.synthetic import write_dataset
from fmrgb_stream.clips.cut import GopCutter
from fmrgb_stream.distributed import usable_cores

BATCH: Final = 32
NUM_SAMPLES: Final = 512
SHAPES: Final = {
    "128 px proxies": VideoShape(),
    "720p": VideoShape(width=1280, height=720, num_frames=90),
}


def speed(device: str) -> Outcome:
    """FMRGB clips of the default settings at two sizes. Goals: nvdec 0.8 of bare decoding."""
    if device == "cpu":
        return Outcome(status="not run", facts={"reason": "Lucas-Kanade on a CPU is all it shows"})
    facts: dict[str, Any] = {}
    for name, shape in SHAPES.items():
        with tempfile.TemporaryDirectory() as folder:
            root = write_dataset(
                Path(folder) / "data", num_samples=NUM_SAMPLES, num_distinct=4, shape=shape
            )
            rates = {"CPU pipeline": _rate(root, device=device, backend="cpu")}
            for decode in ("nvdec", "host", "hybrid"):
                rates[decode] = _rate(root, device=device, backend="dali", decode=decode)
        rates["bare decoding"] = _bare_rate(shape, device)
        facts[name] = {key: round(value, 1) for key, value in rates.items()}
    return Outcome(status="measured", facts=facts)


def _rate(root: Path, **options: Any) -> float:
    with fs.build_loader(root, batch_size=BATCH, tail="drop", **options) as loader:
        batches = iter(loader)
        next(batches)
        start, num_clips = time.perf_counter(), 0
        for batch in batches:
            num_clips += len(batch)
        torch.cuda.current_stream().synchronize()
        return num_clips / (time.perf_counter() - start)


def _bare_rate(shape: VideoShape, device: str) -> float:
    """The same frames of the same files, decoded and thrown away."""
    cutter = GopCutter()
    clips = planned_clips(generated_samples(4, shape=shape), fs.ClipConfig())
    files: list[bytes] = []
    frames: list[list[int]] = []
    for clip in clips * (BATCH // 4):
        cut = cutter.cut(clip.sample, clip.plan.frame_indices)
        assert clip.sample.video is not None, "generated samples have a picture"
        files.append(bytes(clip.sample.video) if cut is None else cut.content)
        indices = clip.plan.frame_indices if cut is None else cut.frame_indices
        frames.append(indices.tolist())
    seconds = seconds_a_batch(files, frames, device=device, num_threads=usable_cores(), rounds=8)
    return len(files) / seconds
