"""Residual blocks with time kernels, the parts of a SlowFast path. All keep the number of frames."""

from __future__ import annotations

from typing import Final

from torch import Tensor, nn
from torch.nn import functional

BOTTLENECK_EXPANSION: Final = 4
Triple = tuple[int, int, int]
"""(time, height, width)."""


def conv_norm_relu(
    in_chans: int, width: int, *, kernel: Triple, stride: Triple = (1, 1, 1)
) -> nn.Sequential:
    """Convolution that pads to "same", batch norm, ReLU."""
    return nn.Sequential(*conv_norm(in_chans, width, kernel=kernel, stride=stride), nn.ReLU())


def conv_norm(
    in_chans: int, width: int, *, kernel: Triple, stride: Triple = (1, 1, 1)
) -> nn.Sequential:
    """Convolution that pads to "same", and batch norm."""
    padding = (kernel[0] // 2, kernel[1] // 2, kernel[2] // 2)
    return nn.Sequential(
        nn.Conv3d(in_chans, width, kernel, stride=stride, padding=padding, bias=False),
        nn.BatchNorm3d(width),
    )


class ResidualStage(nn.Sequential):
    """`depth` blocks; the first one halves the picture if `stride` is 2."""

    def __init__(
        self,
        in_chans: int,
        width: int,
        *,
        depth: int,
        has_bottleneck: bool,
        stride: int,
        time_kernel: int,
    ) -> None:
        """Build the blocks; float [B, in_chans, T, H, W] -> [B, num_features, T, H', W']."""
        self.num_features = width * (BOTTLENECK_EXPANSION if has_bottleneck else 1)
        ends = [in_chans, *[self.num_features] * depth]
        super().__init__(
            *(
                ResidualBlock(
                    ends[i],
                    width,
                    has_bottleneck=has_bottleneck,
                    stride=stride if i == 0 else 1,
                    time_kernel=time_kernel,
                )
                for i in range(depth)
            )
        )


class ResidualBlock(nn.Module):
    """ResNet's block; its first convolution looks over time."""

    def __init__(
        self, in_chans: int, width: int, *, has_bottleneck: bool, stride: int, time_kernel: int
    ) -> None:
        """Build branch and, where shapes change, shortcut."""
        super().__init__()
        strides, num_features = (1, stride, stride), width
        if has_bottleneck:
            num_features = width * BOTTLENECK_EXPANSION
            self.branch = nn.Sequential(
                conv_norm_relu(in_chans, width, kernel=(time_kernel, 1, 1)),
                conv_norm_relu(width, width, kernel=(1, 3, 3), stride=strides),
                conv_norm(width, num_features, kernel=(1, 1, 1)),
            )
        else:
            self.branch = nn.Sequential(
                conv_norm_relu(in_chans, width, kernel=(time_kernel, 3, 3), stride=strides),
                conv_norm(width, num_features, kernel=(1, 3, 3)),
            )
        is_same = in_chans == num_features and stride == 1
        self.shortcut = (
            nn.Identity()
            if is_same
            else conv_norm(in_chans, num_features, kernel=(1, 1, 1), stride=strides)
        )

    def forward(self, features: Tensor) -> Tensor:
        """Float [B, in_chans, T, H, W] -> [B, num_features, T, H', W']."""
        return functional.relu(self.branch(features) + self.shortcut(features))
