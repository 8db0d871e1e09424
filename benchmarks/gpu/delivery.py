"""G6, G8, G9, G10, G11: bad samples, sound, memory that is handed over, resuming, two GPUs."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

import fmrgb_stream as fs
from benchmarks.gpu.media import Video, packed
from benchmarks.gpu.outcome import Outcome, judged
from benchmarks.synthetic import write_dataset
from fmrgb_stream.shards import Manifest, ShardReader
from fmrgb_stream.storage import Store

NUM_CLIPS: Final = 24
BAD: Final = (3, 4, 17)
CLIP: Final = fs.ClipConfig(
    num_frames=4, frame_stride=2, size=(64, 96), channels="rgb", window="start"
)
MAX_GROWTH_BYTES: Final = 64 * 2**20
SOUND_TOLERANCE: Final = 1e-3
"""Of the plane's range 0..1."""
ON_DALI: Final[dict[str, Any]] = {"backend": "dali", "decode": "nvdec", "num_workers": 2}


def bad_samples(device: str) -> Outcome:
    """G6: zeroed packets in three samples, twenty epochs: all others once each; time and memory."""
    with tempfile.TemporaryDirectory() as folder:
        root = _dataset(Path(folder), device)
        _zero_packets(root)
        options = {"batch_size": 4, "clip": CLIP, "shuffle": False, "verify_checksums": False}
        expected = {f"{i:04d}" for i in range(NUM_CLIPS)}
        seconds: list[float] = []
        free: list[int] = []
        is_good = True
        for _ in range(20):
            start = time.perf_counter()
            with fs.build_loader(root, device=device, **options, **ON_DALI) as loader:
                batches = list(loader)
                named = {bad["key"] for bad in loader.stats()["quarantined"]}
            seconds.append(time.perf_counter() - start)
            free.append(0 if device == "cpu" else torch.cuda.mem_get_info(device)[0])
            ids = [i for batch in batches for i in batch.sample_ids.tolist()]
            is_good &= ids == list(range(NUM_CLIPS)) and len(named) == len(BAD)
            is_good &= {key for batch in batches for key in batch.keys} == expected - named
        grown = free[2] - free[-1]
        return judged(
            {
                "epochs": len(seconds),
                "bad samples an epoch": len(BAD),
                "seconds an epoch, median": round(float(np.median(seconds)), 2),
                "device MiB from third to last epoch": round(grown / 2**20),
            },
            bar=f"every good sample once, the bad ones named; no more than {MAX_GROWTH_BYTES >> 20} "
            "MiB of the device are added after the second epoch",
            is_good=is_good and grown <= MAX_GROWTH_BYTES,
        )


def sound(device: str) -> Outcome:
    """G8: the mel plane of the device against the CPU pipeline's."""
    clip = fs.ClipConfig(channels=("mel",), dtype="float32", window="centre")
    with tempfile.TemporaryDirectory() as folder:
        root = write_dataset(Path(folder) / "data", num_samples=16, num_distinct=4)
        options: dict[str, Any] = {"batch_size": 8, "clip": clip, "shuffle": False}
        with (
            fs.build_loader(root, num_workers=1, **options) as cpu,
            fs.build_loader(root, device=device, **options, **ON_DALI) as dali,
        ):
            worst = max(
                float((one.clip.cpu() - other.clip).abs().max())
                for one, other in zip(dali, cpu, strict=True)
            )
    return judged(
        {"largest difference, of 0..1": worst},
        bar=f"below {SOUND_TOLERANCE:g} of the plane's range",
        is_good=worst < SOUND_TOLERANCE,
    )


def held_batches(device: str) -> Outcome:
    """G9: batches that are held while the graph goes on keep their values."""
    with tempfile.TemporaryDirectory() as folder:
        root = _dataset(Path(folder), device)
        with fs.build_loader(root, batch_size=2, clip=CLIP, device=device, **ON_DALI) as loader:
            held = [(batch.clip, batch.clip.clone()) for batch in loader]
            list(loader)
        changed = sum(not torch.equal(clip, copy) for clip, copy in held)
    return judged(
        {"batches": len(held), "changed": changed},
        bar="no batch that is held changes while others are made",
        is_good=changed == 0,
    )


def resuming(device: str) -> Outcome:
    """G10: stopped after every batch and resumed with every depth: each id once."""
    wrong: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        root = _dataset(Path(folder), device)
        for depth in (1, 2, 4):
            options: dict[str, Any] = {
                **ON_DALI, "batch_size": 4, "clip": CLIP, "device": device, "prefetch_batches": depth,
            }  # fmt: skip
            with fs.build_loader(root, **options) as loader:
                whole = [batch.sample_ids.tolist() for batch in loader]
            for stop in range(1, len(whole)):
                with fs.build_loader(root, **options) as loader:
                    batches = iter(loader)
                    seen = [next(batches).sample_ids.tolist() for _ in range(stop)]
                    state = loader.state_dict()
                with fs.build_loader(root, **options) as loader:
                    loader.load_state_dict(state)
                    seen += [batch.sample_ids.tolist() for batch in loader]
                if seen != whole:
                    wrong.append(f"depth {depth}, after {stop} batches")
    return judged(
        {"wrong": wrong}, bar="each id once, whatever the depth and the place", is_good=not wrong
    )


def second_gpu(device: str) -> Outcome:
    """G11: a loader on the second GPU leaves nothing on the first."""
    if device == "cpu" or torch.cuda.device_count() < 2:
        return Outcome(status="not run", facts={"reason": "needs two GPUs"})
    before = torch.cuda.mem_get_info(0)[0]
    code = (
        "import sys, fmrgb_stream as fs\n"
        "with fs.build_loader(sys.argv[1], batch_size=4, device='cuda:1', backend='dali') as x:\n"
        "    next(iter(x)); print('ready', flush=True); sys.stdin.readline()\n"
    )
    with tempfile.TemporaryDirectory() as folder:
        root = _dataset(Path(folder), device)
        process = subprocess.Popen(
            [sys.executable, "-c", code, str(root)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None, "piped"
        is_ready = process.stdout.readline().strip() == "ready"
        taken = (before - torch.cuda.mem_get_info(0)[0]) / 2**20
        process.communicate("\n")
    return judged(
        {"MiB on the first GPU": round(taken)},
        bar="less than 16 MiB, no context, on the first GPU",
        is_good=is_ready and taken < 16,
    )


def _dataset(folder: Path, device: str) -> Path:
    encoder_of_device = "vp9" if device == "cpu" else "h264"
    videos = [Video(width=160, height=96, num_frames=20)] * NUM_CLIPS
    return packed(folder, videos, codec=encoder_of_device, short_side=64)


def _zero_packets(root: Path) -> None:
    split = Manifest.load(Store(root)).split("train")
    reader = ShardReader(Store(root), split)
    with (root / split.shards[0].path).open("r+b") as tar:
        for sample_id in BAD:
            info = reader.info(sample_id)
            member, table = info.member("mp4"), info.packets
            assert member is not None, "packed proxies are mp4"
            assert table is not None, "with listed packets"
            for offset, size in zip(table.offsets.tolist(), table.sizes.tolist(), strict=True):
                tar.seek(member.offset + offset)
                tar.write(bytes(size))
