"""Clip -> logits: 3-D convolutions from scratch, averaged over time and space.

S0's conv3d, with global pooling where it flattened. Shape legend: B batch, D features, K outputs.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from fmrgb_stream.models.frames import repeat_valid_frames
from fmrgb_stream.models.interface import ClipModel
from fmrgb_stream.models.layers import hidden_layers
from fmrgb_stream.models.stem import ClipStem, Plane


class Conv3dNet(ClipModel):
    """Blocks of convolution, batch norm, ReLU and pooling; then the source's two hidden layers."""

    def __init__(
        self,
        *,
        num_outputs: int,
        planes: Sequence[Plane],
        widths: Sequence[int] = (32, 64, 128),
        hidden_widths: Sequence[int] = (128, 64),
        drop_rate: float = 0.25,
    ) -> None:
        """Build all layers.

        Args:
            num_outputs: K, classes or regression targets.
            planes: Mean and deviation of each of the C planes.
            widths: Channels of each 3 x 3 x 3 convolution.
            hidden_widths: Fully connected layers; the last one is D.
            drop_rate: After each of them.
        """
        super().__init__()
        self.stem = ClipStem(planes)
        ends = (len(planes), *widths)
        self.blocks = nn.Sequential(*(_block(a, b) for a, b in pairwise(ends)))
        ends = (ends[-1], *hidden_widths)
        self.hidden = hidden_layers(ends, drop_rate=drop_rate)
        self.num_features = ends[-1]
        self.head = nn.Linear(self.num_features, num_outputs)

    def embed(self, clip_BCTHW: Tensor, num_valid_frames_B: Tensor | None = None) -> Tensor:
        """The last hidden layer, float [B, D]."""
        planes = self.stem(repeat_valid_frames(clip_BCTHW, num_valid_frames_B))
        return self.hidden(self.blocks(planes).mean((2, 3, 4)))


def _block(in_chans: int, width: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv3d(in_chans, width, 3, padding=1, bias=False),
        nn.BatchNorm3d(width),
        nn.ReLU(inplace=True),
        # Of odd lengths, and of a single frame, the last one is kept.
        nn.MaxPool3d(2, ceil_mode=True),
    )
