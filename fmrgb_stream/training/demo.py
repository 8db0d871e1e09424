"""The demo dataset -> four small trainings: all channels, and without flow, mel and RGB.

The dataset's eight classes are a colour, a speed and a pitch, two of each; every channel carries
one of them and tells nothing of the other two (tools/make_demo.py). So a model with all channels
can know all three, and a model without one of them is right half of the time.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import torch
from rich.console import Console
from torch import nn

from fmrgb_stream.config import ClipConfig, FlowConfig, TrainConfig
from fmrgb_stream.loader import ClipLoader, build_loader
from fmrgb_stream.models import create_model
from fmrgb_stream.training.ablation import (
    FULL_AND_WITHOUT_EACH,
    AblationRow,
    Variant,
    run_ablation,
)
from fmrgb_stream.training.metrics_file import MetricsFile
from fmrgb_stream.training.trainer import Loaders

MODEL: Final = "frame_pool/test_resnet"
"""0.4 million parameters; trains from scratch at about 110 clips/s on one core."""
BATCH_SIZE: Final = 16
CLIP: Final = ClipConfig(
    num_frames=8,
    frame_stride=2,
    size=(48, 48),
    flow=FlowConfig(max_pixels=10.0, estimator="dis"),
)
"""DIS, because Lucas-Kanade takes 80 times its time on a CPU, more than the training of a clip; both
estimators reach the same accuracy."""
TRAIN: Final = TrainConfig(epochs=16, lr=4e-3, weight_decay=0.05)
FULL_AT_LEAST: Final = 0.95
ABLATED_AT_MOST: Final = 0.60


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """What one variant must reach, and what it did."""

    name: str
    accuracy: float
    wanted: str
    is_met: bool


def run_demo(
    root: str | os.PathLike[str],
    *,
    out: Path,
    config: TrainConfig = TRAIN,
    variants: Sequence[Variant] = FULL_AND_WITHOUT_EACH,
    console: Console | None = None,
    on_row: Callable[[AblationRow], None] | None = None,
) -> list[AblationRow]:
    """Train and test every variant on a demo dataset; metrics.jsonl goes to `out`."""
    with ExitStack() as stack:
        stack.enter_context(_one_compute_thread())

        def build(variant: Variant) -> tuple[nn.Module, Loaders]:
            loaders = open_loaders(root, channels=variant.channels, seed=config.seed)
            for loader in loaders:
                stack.enter_context(loader)
            model = build_model(loaders[0], seed=config.seed)
            return model, Loaders(train=loaders[0], val=loaders[1], test=loaders[2])

        return run_ablation(
            build,
            config=config,
            variants=variants,
            metrics=MetricsFile(out / "metrics.jsonl"),
            console=console,
            on_row=on_row,
        )


def open_loaders(
    root: str | os.PathLike[str], *, channels: tuple[str, ...], seed: int
) -> tuple[ClipLoader, ClipLoader, ClipLoader]:
    """Train, val and test; windows are random in training and in the middle otherwise."""
    moving = replace(CLIP, channels=channels)
    fixed = replace(moving, window="centre")
    return (
        build_loader(root, split="train", batch_size=BATCH_SIZE, seed=seed, clip=moving),
        build_loader(root, split="val", batch_size=BATCH_SIZE, clip=fixed),
        build_loader(root, split="test", batch_size=BATCH_SIZE, clip=fixed),
    )


def build_model(loader: ClipLoader, *, seed: int) -> nn.Module:
    """A new model for the loader's channels, normalised by the dataset's own statistics."""
    torch.manual_seed(seed)
    model = create_model(
        MODEL,
        num_classes=len(loader.classes),
        channels=loader.clip.channels,
        channel_stats=loader.manifest.channel_stats,
    )
    # 1.6 times as fast on CPU: 4.4 instead of 7.7 ms a step and clip on two idle cores.
    return model.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue] (torch lacks this overload)


@contextmanager
def _one_compute_thread() -> Generator[None]:
    """Let torch compute on one core and leave the others to the loader.

    Measured on two cores: one thread makes 110 clips/s whatever else runs there; two make 150 when
    the machine is idle and 12 when it is not, because they wait for each other at every layer. And
    the result does not depend on the number of cores.
    """
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(num_threads)


def check_bars(rows: Sequence[AblationRow]) -> list[Bar]:
    """The first row is the full model, the others are ablations."""
    bars: list[Bar] = []
    for row in rows:
        if row.result.test is None:
            raise AssertionError(f"{row.variant.name} was not tested")
        accuracy = row.result.test.score
        is_full = row is rows[0]
        bars.append(
            Bar(
                name=row.variant.name,
                accuracy=accuracy,
                wanted=f">= {FULL_AT_LEAST:.2f}" if is_full else f"<= {ABLATED_AT_MOST:.2f}",
                is_met=accuracy >= FULL_AT_LEAST if is_full else accuracy <= ABLATED_AT_MOST,
            )
        )
    return bars
