"""Small clips whose class can be seen, as the loaders that a trainer takes."""

from __future__ import annotations

import numpy as np
import torch

from fmrgb_stream.channels import CHANNELS
from fmrgb_stream.sample import ClipBatch


def make_batch(
    *,
    labels=None,
    targets=None,
    clip=None,
    num_valid_frames=None,
    is_padding=None,
    num_frames=3,
    size=16,
    channels=CHANNELS,
    seed=0,
):
    """A ClipBatch; without `clip` each one has brightness 40 + 40 x label in all planes."""
    batch_size = next(len(x) for x in (clip, labels, targets) if x is not None)
    if clip is None:
        random = np.random.default_rng(seed)
        levels = 40 + 40 * np.asarray(labels if labels is not None else [0] * batch_size)
        shape = (batch_size, len(channels), num_frames, size, size)
        noise = random.integers(-15, 16, size=shape)
        clip = torch.from_numpy((levels[:, None, None, None, None] + noise).astype(np.uint8))
    num_frames = clip.shape[2]
    valid = [num_frames] * batch_size if num_valid_frames is None else num_valid_frames
    padding = [False] * batch_size if is_padding is None else is_padding
    return ClipBatch(
        clip=clip,
        channels=tuple(channels),
        labels=None if labels is None else torch.tensor(labels),
        targets=None if targets is None else torch.tensor(targets, dtype=torch.float32),
        keys=tuple(f"clip-{i}" for i in range(batch_size)),
        sample_ids=torch.arange(batch_size),
        window_indices=torch.zeros(batch_size, dtype=torch.int64),
        times_seconds=torch.arange(num_frames, dtype=torch.float64).expand(batch_size, -1) / 12.5,
        num_valid_frames=torch.tensor(valid),
        is_padding=torch.tensor(padding),
        is_substitute=torch.zeros(batch_size, dtype=torch.bool),
        flow_estimator="dis",
    )


class ListLoader:
    """A loader over ready batches that notes the epochs it was asked for."""

    def __init__(self, batches):
        self.batches = list(batches)
        self.epochs = []

    def __len__(self):
        return len(self.batches)

    def __iter__(self):
        return iter(self.batches)

    def set_epoch(self, epoch):
        self.epochs.append(epoch)
