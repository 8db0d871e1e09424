"""Clip -> logits: LSTM cells whose gates are convolutions, over time; attention over the picture.

The cell is S0's (Shi et al. 2015, without peepholes). Shape legend: B batch, C channels, T frames,
H height, W width, D features, K outputs.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from fmrgb_stream.models.frames import frames_mask
from fmrgb_stream.models.interface import ClipModel
from fmrgb_stream.models.layers import hidden_layers
from fmrgb_stream.models.stem import ClipStem, Plane


class ConvLSTM(ClipModel):
    """Stacked cells over the frames, in order; the state after the last frame that counts."""

    def __init__(
        self,
        *,
        num_outputs: int,
        planes: Sequence[Plane],
        hidden_chans: Sequence[int] = (64, 32, 16),
        patch_size: int = 4,
        hidden_widths: Sequence[int] = (128, 32),
        drop_rate: float = 0.25,
    ) -> None:
        """Build the cells and the head.

        Args:
            num_outputs: K, classes or regression targets.
            planes: Mean and deviation of each of the C planes.
            hidden_chans: Channels of the state of each cell, from below.
            patch_size: Pixels a side that the first layer joins to one place; 1 is the source's,
                for pictures of 28 pixels.
            hidden_widths: Fully connected layers; the last one is D.
            drop_rate: After each of them.
        """
        super().__init__()
        self.stem = ClipStem(planes)
        first = hidden_chans[0]
        reach = patch_size // 2  # ceil(side / patch_size) places, so never none
        self.patches = nn.Conv2d(
            len(planes), first, 2 * reach + 1, stride=patch_size, padding=reach
        )
        ends = (first, *hidden_chans)
        self.cells = nn.ModuleList(ConvLSTMCell(a, b) for a, b in pairwise(ends))
        self.attention = nn.Conv2d(ends[-1], 1, 1)
        ends = (ends[-1], *hidden_widths)
        self.hidden = hidden_layers(ends, drop_rate=drop_rate)
        self.num_features = ends[-1]
        self.head = nn.Linear(self.num_features, num_outputs)

    def embed(self, clip_BCTHW: Tensor, num_valid_frames_B: Tensor | None = None) -> Tensor:
        """The last hidden layer, float [B, D]."""
        mask_BT = frames_mask(clip_BCTHW, num_valid_frames_B)
        planes = self.stem(clip_BCTHW)
        places = self.patches(planes.transpose(1, 2).flatten(0, 1)).unflatten(0, mask_BT.shape)
        states = places
        for cell in self.cells:
            states = cell(states)
        last_B = mask_BT.sum(1) - 1
        state_BDHW = states[torch.arange(len(states), device=states.device), last_B]
        weights = self.attention(state_BDHW).sigmoid()
        # A weighted mean; the source's sum would grow with the picture.
        pooled = (state_BDHW * weights).sum((2, 3)) / weights.sum((2, 3))
        return self.hidden(pooled)


class ConvLSTMCell(nn.Module):
    """Frames -> states; all four gates come from one convolution."""

    def __init__(self, in_chans: int, hidden_chans: int) -> None:
        """Build the convolution; the forget gate starts open."""
        super().__init__()
        self.hidden_chans = hidden_chans
        self.gates = nn.Conv2d(in_chans + hidden_chans, 4 * hidden_chans, 3, padding=1)
        bias = self.gates.bias
        assert bias is not None
        nn.init.zeros_(bias)
        nn.init.ones_(bias[hidden_chans : 2 * hidden_chans])

    def forward(self, frames: Tensor) -> Tensor:
        """Float [B, T, C, H, W] -> the state after each frame, [B, T, D, H, W]."""
        batch_size, _, _, height, width = frames.shape
        hidden = memory = frames.new_zeros((batch_size, self.hidden_chans, height, width))
        states: list[Tensor] = []
        for frame in frames.unbind(1):
            hidden, memory = self.step(frame, hidden, memory)
            states.append(hidden)
        return torch.stack(states, dim=1)

    def step(self, frame: Tensor, hidden: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        """C = f c + i tanh(g), h = o tanh(c); float [B, C, H, W] each."""
        input_, forget, output, new = self.gates(torch.cat([frame, hidden], 1)).chunk(4, dim=1)
        memory = forget.sigmoid() * memory + input_.sigmoid() * new.tanh()
        return output.sigmoid() * memory.tanh(), memory
