"""Small clips whose class can be seen, as the loaders that a trainer takes."""

from __future__ import annotations

import numpy as np
import torch

from fmrgb_stream.channels import CHANNELS
from fmrgb_stream.sample import ClipBatch
from fmrgb_stream.training.outcomes import Outcomes


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


def make_outcomes(
    *, outputs, labels=None, targets=None, keys=None, groups=None, names=None, kind="classes"
):
    """Outcomes of clips that last half a second each, one after the other."""
    outputs = np.asarray(outputs, dtype=np.float32)
    num_clips, num_outputs = outputs.shape
    starts = 0.5 * np.arange(num_clips)
    keys = tuple(f"clip-{i}" for i in range(num_clips)) if keys is None else keys
    return Outcomes(
        split="test",
        kind=kind,
        activation={"classes": "softmax", "labels": "sigmoid", "targets": "none"}[kind],
        names=tuple("abcdefgh"[:num_outputs]) if names is None else names,
        keys=keys,
        groups=keys if groups is None else groups,
        sample_ids=np.array([keys.index(key) for key in keys]),
        window_indices=np.array([keys[:i].count(key) for i, key in enumerate(keys)]),
        spans_seconds=np.stack([starts, starts + 0.5], axis=1),
        outputs=outputs,
        labels=None if labels is None else np.asarray(labels),
        targets=None if targets is None else np.asarray(targets, dtype=np.float32),
    )
