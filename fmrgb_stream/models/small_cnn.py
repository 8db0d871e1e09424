"""Picture -> features: a small convolutional network, to train from scratch in minutes.

Shape legend: N pictures, C channels, H height, W width, D features.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn


class SmallCNN(nn.Module):
    """Convolutions of stride two with batch norm, and the mean over the picture."""

    def __init__(self, in_chans: int, *, widths: Sequence[int] = (32, 64, 128, 256)) -> None:
        """Build the layers; the last width is D."""
        super().__init__()
        ends = (in_chans, *widths)
        self.layers = nn.Sequential(
            *(_layer(a, b) for a, b in pairwise(ends)),
        )
        self.num_features = ends[-1]

    def forward(self, images_NCHW: Tensor) -> Tensor:
        """Float [N, C, H, W], any size -> [N, D]."""
        return self.layers(images_NCHW).mean((2, 3))


def _layer(in_chans: int, width: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_chans, width, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(inplace=True),
    )
