"""S1: clips a second by where videos are decoded, against the CPU pipeline and bare decoding."""

from __future__ import annotations

import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import torch

import fmrgb_stream as fs
from benchmarks.generated import VideoShape, generated_samples, planned_clips
from benchmarks.gpu.decoding import seconds_a_batch
from benchmarks.gpu.outcome import Outcome, judged_on_gpu
from benchmarks.synthetic import write_dataset
from fmrgb_stream.clips.cut import GopCutter
from fmrgb_stream.distributed import usable_cores

MIN_OF_BARE: Final = 0.8
TIE: Final = 0.95
"""Of the better of two: what is closer than this is noise."""
SHAPES: Final = {
    "128 px proxies": VideoShape(),
    "720p": VideoShape(width=1280, height=720, num_frames=90),
}


def speed(device: str) -> Outcome:
    """FMRGB clips of the default settings at two sizes, for each place to decode.

    On the CPU the same path with small numbers, VP9 and no flow, of which Lucas-Kanade on a few
    cores would be all that shows.
    """
    is_cpu = device == "cpu"
    num_samples, batch_size = (16, 4) if is_cpu else (512, 32)
    clip = fs.ClipConfig(channels=("red", "green", "blue", "mel")) if is_cpu else fs.ClipConfig()
    facts: dict[str, Any] = {}
    is_good = True
    for name, full_shape in SHAPES.items():
        shape = replace(full_shape, num_frames=75, codec="vp9") if is_cpu else full_shape
        options: dict[str, Any] = {"device": device, "batch_size": batch_size, "clip": clip}
        with tempfile.TemporaryDirectory() as folder:
            root = write_dataset(
                Path(folder) / "data", num_samples=num_samples, num_distinct=4, shape=shape
            )
            rates = {"CPU pipeline": _rate(root, backend="cpu", **options)}
            for decode in ("nvdec", "host", "hybrid"):
                rates[decode] = _rate(root, backend="dali", decode=decode, **options)
        rates["bare decoding"] = _bare_rate(shape, device, batch_size=batch_size)
        facts[name] = {key: round(value, 1) for key, value in rates.items()}
        facts[name]["nvdec of bare"] = round(rates["nvdec"] / rates["bare decoding"], 2)
        is_good &= meets_goals(rates)
    return judged_on_gpu(
        facts,
        bar=f"nvdec {MIN_OF_BARE:g} of bare decoding of the same frames; hybrid {TIE:g} of the better "
        "of nvdec and host",
        is_good=is_good,
        device=device,
    )


def meets_goals(rates: dict[str, float]) -> bool:
    """Whether clips a second, by name, are what they should be on a GPU."""
    is_near_bare = rates["nvdec"] >= MIN_OF_BARE * rates["bare decoding"]
    return is_near_bare and rates["hybrid"] >= TIE * max(rates["nvdec"], rates["host"])


def _rate(root: Path, **options: Any) -> float:
    """Clips a second of the second epoch: by then everything is built and warm."""
    with fs.build_loader(root, tail="drop", **options) as loader:
        for _ in loader:
            pass
        start, num_clips = time.perf_counter(), 0
        for batch in loader:
            num_clips += len(batch)
        if options["device"] != "cpu":
            torch.cuda.current_stream().synchronize()
        return num_clips / (time.perf_counter() - start)


def _bare_rate(shape: VideoShape, device: str, *, batch_size: int) -> float:
    """The same frames of the same files, cut alike, decoded and thrown away."""
    cutter = GopCutter()
    clips = planned_clips(generated_samples(4, shape=shape), fs.ClipConfig())
    files: list[bytes] = []
    frames: list[list[int]] = []
    for clip in clips * (batch_size // 4):
        cut = cutter.cut(clip.sample, clip.plan.frame_indices)
        assert clip.sample.video is not None, "generated samples have a picture"
        files.append(bytes(clip.sample.video) if cut is None else cut.content)
        indices = clip.plan.frame_indices if cut is None else cut.frame_indices
        frames.append(indices.tolist())
    seconds = seconds_a_batch(
        files,
        frames,
        device=device,
        num_threads=usable_cores(),
        rounds=2 if device == "cpu" else 8,
    )
    return len(files) / seconds
