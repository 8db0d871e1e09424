"""What every model of this package is: parts of a ClipBatch -> embedding -> logits.

Shape legend: B batch, C channels, T frames, H height, W width, D features, K outputs.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor, nn

from fmrgb_stream.errors import ConfigError
from fmrgb_stream.sample import ClipBatch

CLIP_FIELDS: Final = ("clip", "num_valid_frames")


class ClipModel(nn.Module):
    """A model whose arguments are fields of a `ClipBatch`, named by `batch_fields`, in order."""

    batch_fields: tuple[str, ...] = CLIP_FIELDS
    """The first two are those of every model."""
    num_features: int
    """D."""
    head: nn.Module
    """[B, D] -> [B, K]."""

    def head_prefixes(self) -> tuple[str, ...]:
        """How the names of those weights begin that belong to the classes."""
        return ("head.",)

    def embed(self, clip_BCTHW: Tensor, num_valid_frames_B: Tensor | None = None) -> Tensor:
        """The clip as one vector, float [B, D]; the arguments are those of `forward`."""
        raise NotImplementedError

    def forward(self, clip_BCTHW: Tensor, num_valid_frames_B: Tensor | None = None) -> Tensor:
        """Logits, or regression outputs, float [B, K].

        Args:
            clip_BCTHW: uint8 0..255, or float 0..1.
            num_valid_frames_B: int64; frames from there on are padding and never count.
                None counts all.
        """
        return self.head(self.embed(clip_BCTHW, num_valid_frames_B))


def model_inputs(
    batch: ClipBatch, fields: tuple[str, ...], *, device: torch.device | str
) -> tuple[Tensor, ...]:
    """The arguments of a model from a batch, on a device: `model(*model_inputs(...))`.

    Args:
        batch: As the loader gives it.
        fields: `model.batch_fields`, asked for before the model is wrapped for several processes.
        device: Where the model is; the copy does not wait.

    Raises:
        ConfigError: the batch lacks a field; the clip's `extras` deliver it.
    """
    missing = [field for field in fields if getattr(batch, field) is None]
    if missing:
        raise ConfigError(
            f"this model needs {missing}, which the loader does not deliver; use "
            f"ClipConfig(extras={tuple(missing)})"
        )
    return tuple(getattr(batch, field).to(device, non_blocking=True) for field in fields)
