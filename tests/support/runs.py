"""Tiny datasets to train on, and settings with which that takes seconds."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np

from fmrgb_stream.config import (
    ClipConfig,
    DataConfig,
    ModelConfig,
    PackConfig,
    RecordConfig,
    RunConfig,
    TrainConfig,
)
from tests.support.media import Picture, Sound, tone, write_media

NUM_FRAMES = 12
FPS = Fraction(10)
SPLITS = {"train": 24, "val": 6, "test": 8}
NUM_CLASSES = 3
TARGET_NAMES = ("red", "green", "blue", "loud", "warm")


def write_colours(folder: Path, splits=None) -> tuple[Path, Path]:
    """Clips of one colour and one loudness: a table of their class, and one of five numbers in 0..1.

    The class is told by the red plane; the numbers are red, green, blue, loudness, and red minus blue.
    """
    random = np.random.default_rng(0)
    folder.mkdir(parents=True, exist_ok=True)
    with (
        (folder / "classes.csv").open("w", newline="") as classes,
        (folder / "targets.csv").open("w", newline="") as targets,
    ):
        class_rows, target_rows = csv.writer(classes), csv.writer(targets)
        class_rows.writerow(["path", "label", "split"])
        target_rows.writerow(["path", "split", *TARGET_NAMES])
        sample = 0
        for split, count in (splits or SPLITS).items():
            for _ in range(count):
                label = sample % NUM_CLASSES
                red, green, blue, loud = random.random(4)
                red = (label + 0.2 + 0.6 * red) / NUM_CLASSES
                name = f"clip-{sample:03d}.mp4"
                _write(folder / name, (red, green, blue), loud)
                class_rows.writerow([name, f"class-{label}", split])
                numbers = (red, green, blue, loud, (red - blue + 1) / 2)
                target_rows.writerow([name, split, *(f"{number:.5f}" for number in numbers)])
                sample += 1
    return folder / "classes.csv", folder / "targets.csv"


def _write(path: Path, colour, loud: float) -> None:
    frames = np.empty((NUM_FRAMES, 48, 64, 3), np.uint8)
    frames[...] = np.round(16 + 219 * np.array(colour)).astype(np.uint8)
    # -60 to 0 dB: even steps in the mel plane.
    sound = tone(440, float(NUM_FRAMES / FPS), level=0.5 * 10 ** (3 * (loud - 1)))
    write_media(path, picture=Picture(frames=frames, fps=FPS), sound=Sound(samples=sound))


def pack_table(table: Path, root: Path) -> Path:
    """A dataset of a table, by the real packer."""
    from fmrgb_stream.packing import pack

    pack(table, root, config=PackConfig(short_side=48, gop_frames=4, num_workers=1))
    return root


def tiny_config(root: Path, *, record=None, data=None, clip=None, model=None, **train) -> RunConfig:
    """Two frames of 16x16, a small network, everything else by name."""
    settings = {"epochs": 2, "lr": 5e-3, "warmup_fraction": 0.0, "seed": 3} | train
    return RunConfig(
        data=DataConfig(**{"root": str(root), "batch_size": 4, "num_workers": 1} | (data or {})),
        clip=ClipConfig(**{"num_frames": 2, "frame_stride": 2, "size": (16, 16)} | (clip or {})),
        model=ModelConfig(
            **{
                "name": "smallcnn",
                "options": {"backbone_options": {"widths": [8, 16]}, "drop_rate": 0.3},
            }
            | (model or {})
        ),
        train=TrainConfig(**settings),
        record=RecordConfig(**{"log_every_steps": 1, "trackers": ()} | (record or {})),
        num_torch_threads=1,
    )


def launch(words, *, num_processes=1, **options) -> subprocess.Popen[str]:
    """`python -m fmrgb_stream.cli WORDS`, by torchrun when there are several processes."""
    command = [sys.executable, "-m"]
    if num_processes > 1:
        command += ["torch.distributed.run", "--nproc-per-node", str(num_processes)]
        command += ["--standalone", "-m"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    return subprocess.Popen(
        [*command, "fmrgb_stream.cli", *(str(word) for word in words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        cwd=Path(__file__).resolve().parents[2],
        **options,
    )


def finished(process: subprocess.Popen[str], *, timeout_seconds: float = 240) -> str:
    """What a launched command printed, once it has ended well."""
    try:
        out, error = process.communicate(timeout=timeout_seconds)
    finally:
        process.kill()
    assert process.returncode == 0, error[-3000:]
    return out


def step_losses(run: Path) -> list[float]:
    """The loss of every step of a run, as they stand in metrics.jsonl."""
    from fmrgb_stream.training.metrics_file import read_metrics

    records = read_metrics(run / "metrics.jsonl")
    return [record.loss for event, record in records if event == "step"]
