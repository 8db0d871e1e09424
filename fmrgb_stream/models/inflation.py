"""Image network -> the same with convolutions over time, in place.

The network keeps its frames folded into the batch, [B T, C, H, W]; only the replaced convolutions
unfold them. So pooling, norms and attention of any network stay as they are, and so do frames: the
ends are padded with the first and the last one. Shape legend: B batch, C channels, T frames.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, cast

import torch
from timm.layers.conv2d_same import Conv2dSame
from timm.layers.padding import pad_same
from torch import Tensor, nn
from torch.nn import functional

from fmrgb_stream.errors import ConfigError

Inflation = Literal["3d", "2+1d"]


@dataclass(slots=True)
class FoldedTime:
    """How many frames of each clip lie in the batch now; the model sets it before each pass."""

    num_frames: int = 1


def inflate(net: nn.Module, *, kernels: Inflation, time_kernel: int) -> FoldedTime:
    """Replace every spatial convolution of a network.

    Those of one pixel, and those that cut a picture into patches, stay as they are.

    Raises:
        ConfigError: `time_kernel` is even, there is nothing to replace, or a convolution computes its
            weights in a way of its own.
    """
    if time_kernel < 1 or time_kernel % 2 == 0:
        raise ConfigError(f"time_kernel={time_kernel} must be odd")
    time = FoldedTime()
    found = [
        (name, module)
        for name, module in net.named_modules()
        if isinstance(module, nn.Conv2d) and _is_spatial(module)
    ]
    if not found:
        raise ConfigError("this backbone has no spatial convolution to inflate; take a ResNet, say")
    for name, conv in found:
        if type(conv) not in (nn.Conv2d, Conv2dSame):
            raise ConfigError(f"layer {name!r}, a {type(conv).__name__}, cannot be inflated")
        new = InflatedConv if kernels == "3d" else SeparableConv
        net.set_submodule(name, new(conv, time_kernel=time_kernel, time=time))
    return time


def _is_spatial(conv: nn.Conv2d) -> bool:
    """Neither a single pixel, nor patches side by side."""
    kernel, stride = conv.kernel_size, conv.stride
    return max(kernel) > 1 and any(kernel[i] > stride[i] for i in range(2))


class InflatedConv(nn.Module):
    """A convolution over time and space; starts as the mean over time of the given one."""

    def __init__(self, conv: nn.Conv2d, *, time_kernel: int, time: FoldedTime) -> None:
        """Repeat the kernel along time, divided by its length (I3D, section 2.4)."""
        super().__init__()
        self.time, self.pads_same = time, isinstance(conv, Conv2dSame)
        self.kernel, self.stride = conv.kernel_size, conv.stride
        self.padding, self.dilation = cast("tuple[int, int]", conv.padding), conv.dilation
        self.groups = conv.groups
        weight = conv.weight.detach()[:, :, None].repeat(1, 1, time_kernel, 1, 1) / time_kernel
        self.weight = nn.Parameter(weight)
        self.bias = conv.bias

    def forward(self, images: Tensor) -> Tensor:
        """Float [B T, C, H, W] -> [B T, C', H', W']."""
        if self.pads_same:
            images = pad_same(images, list(self.kernel), list(self.stride), list(self.dilation))
        frames = _unfold(images, self.time)
        out = functional.conv3d(
            _repeat_ends(frames, self.weight.shape[2]),
            self.weight,
            self.bias,
            stride=(1, *self.stride),
            padding=(0, *self.padding),
            dilation=(1, *self.dilation),
            groups=self.groups,
        )
        return out.transpose(1, 2).flatten(0, 1)


class SeparableConv(nn.Module):
    """The given convolution, then one over time alone that starts by doing nothing."""

    def __init__(self, conv: nn.Conv2d, *, time_kernel: int, time: FoldedTime) -> None:
        """Keep the convolution; add an identity over time."""
        super().__init__()
        self.space, self.time = conv, time
        self.over_time = nn.Conv3d(
            conv.out_channels,
            conv.out_channels,
            (time_kernel, 1, 1),
            groups=conv.groups,
            bias=False,
        )
        nn.init.dirac_(self.over_time.weight, groups=conv.groups)

    def forward(self, images: Tensor) -> Tensor:
        """Float [B T, C, H, W] -> [B T, C', H', W']."""
        frames = _unfold(self.space(images), self.time)
        out = self.over_time(_repeat_ends(frames, self.over_time.kernel_size[0]))
        return out.transpose(1, 2).flatten(0, 1)


def _unfold(images: Tensor, time: FoldedTime) -> Tensor:
    """[B T, C, H, W] -> [B, C, T, H, W]."""
    return images.unflatten(0, (-1, time.num_frames)).transpose(1, 2)


def _repeat_ends(frames_BCTHW: Tensor, time_kernel: int) -> Tensor:
    """First and last frame repeated, so that the number of frames stays and a still stays still."""
    reach = time_kernel // 2
    first = frames_BCTHW[:, :, :1].expand(-1, -1, reach, -1, -1)
    last = frames_BCTHW[:, :, -1:].expand(-1, -1, reach, -1, -1)
    return torch.cat([first, frames_BCTHW, last], dim=2)
