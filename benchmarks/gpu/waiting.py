"""S2: how long a training waits for its data: a CRNN on ResNet-18, FMRGB clips of 112 pixels."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import torch
from torch import nn

import fmrgb_stream as fs
from benchmarks.generated import VideoShape
from benchmarks.gpu.outcome import Outcome, judged_on_gpu
from benchmarks.synthetic import write_dataset
from fmrgb_stream.sample import ClipBatch

MODEL: Final = "crnn/resnet18"
MAX_WAIT_SHARE: Final = 0.05


def data_wait(device: str) -> Outcome:
    """Train with the loader on its own defaults; the share of a step in which nothing was there.

    Each step ends when the GPU has done it, so what is counted as waiting is time in which the GPU
    had nothing to do. For comparison the same steps on one batch that is there already.
    """
    is_cpu = device == "cpu"
    num_samples, batch_size = (8, 2) if is_cpu else (1024, 32)
    shape = VideoShape(num_frames=75, codec="vp9") if is_cpu else VideoShape()
    clip = fs.ClipConfig(num_frames=4) if is_cpu else fs.ClipConfig()
    with tempfile.TemporaryDirectory() as folder:
        root = write_dataset(
            Path(folder) / "data", num_samples=num_samples, num_distinct=4, shape=shape
        )
        training = _Training(device)
        options: dict[str, Any] = {"batch_size": batch_size, "clip": clip, "device": device}
        with fs.build_loader(root, backend="dali", tail="drop", **options) as loader:
            batches = list(zip(range(1 if is_cpu else 4), loader, strict=False))
            training.steps(iter([batch for _, batch in batches]))
            num_steps, seconds, waited = training.steps(iter(loader))
            estimator = batches[0][1].flow_estimator
        _, fixed_seconds, _ = training.steps(iter([batches[0][1]] * num_steps))
    share = waited / seconds
    return judged_on_gpu(
        {
            "model": MODEL,
            "clips": f"{batch_size} x {clip.num_frames} x {clip.size[0]} px, flow by {estimator}",
            "steps": num_steps,
            "ms a step": round(seconds / num_steps * 1e3, 1),
            "ms a step on one batch": round(fixed_seconds / num_steps * 1e3, 1),
            "data wait, share of a step": round(share, 4),
        },
        bar=f"data wait at most {MAX_WAIT_SHARE:.0%} of a step",
        is_good=share <= MAX_WAIT_SHARE,
        device=device,
    )


class _Training:
    """A model, its optimiser and its loss, as a plain loop would have them."""

    def __init__(self, device: str) -> None:
        self._device = device
        self._model = fs.create_model(MODEL, num_classes=8).to(device)
        self._optimiser = torch.optim.AdamW(self._model.parameters())
        self._loss = nn.CrossEntropyLoss()

    def steps(self, batches: Iterator[ClipBatch]) -> tuple[int, float, float]:
        """(steps, seconds of all, seconds in which no batch was there)."""
        start, waited, num_steps = time.perf_counter(), 0.0, 0
        while True:
            asked = time.perf_counter()
            batch = next(batches, None)
            if batch is None:
                return num_steps, time.perf_counter() - start, waited
            waited += time.perf_counter() - asked
            self._step(batch)
            num_steps += 1

    def _step(self, batch: ClipBatch) -> None:
        kind = torch.device(self._device).type
        assert batch.labels is not None, "the generated dataset has classes"
        with torch.autocast(kind, torch.bfloat16, enabled=kind == "cuda"):
            outputs = self._model(batch.clip, batch.num_valid_frames)
            loss = self._loss(outputs, batch.labels)
        self._optimiser.zero_grad()
        loss.backward()
        self._optimiser.step()
        loss.item()
