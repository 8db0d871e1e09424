"""Clip -> logits: a slow path that sees few frames in many channels, a fast one the opposite.

SlowFast networks (Feichtenhofer et al. 2019): time-strided convolutions carry the fast path's features
to the slow one after each stage. The 8x8 form: every 4th frame of a 32-frame clip for the slow path,
all of them in an eighth of its channels for the fast one. Shape legend: B batch, C channels, T frames,
H height, W width, D features, K outputs.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial
from typing import Final

import torch
from torch import Tensor, nn

from fmrgb_stream.models.frames import repeat_valid_frames
from fmrgb_stream.models.interface import ClipModel
from fmrgb_stream.models.layers import classifier
from fmrgb_stream.models.residual3d import ResidualStage, conv_norm_relu
from fmrgb_stream.models.slowfast_weights import load_pytorchvideo
from fmrgb_stream.models.stem import ClipStem, Plane

SLOW_TIME_KERNELS: Final = (1, 1, 3, 3)
"""Per stage, Table 1 of the paper: the slow path sees time only in the last two."""
FAST_TIME_KERNELS: Final = (3, 3, 3, 3)
FAST_STEM_TIME_KERNEL: Final = 5
LATERAL_RATIO: Final = 2
"""A lateral connection has twice the fast path's channels."""


class SlowFast(ClipModel):
    """Two paths with lateral connections; their pooled features side by side."""

    def __init__(
        self,
        *,
        num_outputs: int,
        planes: Sequence[Plane],
        depths: Sequence[int] = (3, 4, 6, 3),
        has_bottleneck: bool = True,
        width: int = 64,
        alpha: int = 4,
        beta_inverse: int = 8,
        lateral_time_kernel: int = 7,
        drop_rate: float = 0.5,
        published_weights: str | os.PathLike[str] | None = None,
    ) -> None:
        """Build both paths; the defaults are SlowFast-R50 8x8 (D = 2048 + 256).

        Args:
            num_outputs: K, classes or regression targets.
            planes: Mean and deviation of each of the C planes.
            depths: Residual blocks of each of the four stages.
            has_bottleneck: Blocks of three convolutions, as in ResNet-50, else of two.
            width: Channels of the slow path's first layer.
            alpha: The slow path sees every alpha-th frame.
            beta_inverse: The fast path has this many times fewer channels.
            lateral_time_kernel: Fast frames that a lateral connection sees; odd.
            drop_rate: Dropout before the head.
            published_weights: A local copy of PyTorchVideo's weights for this network; the first
                layers are adapted to the planes, and the head stays new.

        Raises:
            ConfigError: `published_weights` are not those of this network.
        """
        super().__init__()
        self.alpha = alpha
        self.stem = ClipStem(planes)
        fast_width = width // beta_inverse
        self.slow_stem = _path_stem(len(planes), width, time_kernel=1)
        self.fast_stem = _path_stem(len(planes), fast_width, time_kernel=FAST_STEM_TIME_KERNEL)
        self.laterals, self.slow_stages, self.fast_stages = (nn.ModuleList() for _ in range(3))
        slow_chans, fast_chans = width, fast_width
        for stage, depth in enumerate(depths):
            self.laterals.append(_lateral(fast_chans, alpha=alpha, time_kernel=lateral_time_kernel))
            make_stage = partial(
                ResidualStage,
                depth=depth,
                has_bottleneck=has_bottleneck,
                stride=1 if stage == 0 else 2,
            )
            slow = make_stage(
                slow_chans + LATERAL_RATIO * fast_chans,
                width << stage,
                time_kernel=SLOW_TIME_KERNELS[stage],
            )
            fast = make_stage(fast_chans, fast_width << stage, time_kernel=FAST_TIME_KERNELS[stage])
            self.slow_stages.append(slow)
            self.fast_stages.append(fast)
            slow_chans, fast_chans = slow.num_features, fast.num_features
        self.num_features = slow_chans + fast_chans
        self.head = classifier(self.num_features, num_outputs, drop_rate=drop_rate)
        if published_weights is not None:
            load_pytorchvideo(self, published_weights, planes)

    def embed(self, clip_BCTHW: Tensor, num_valid_frames_B: Tensor | None = None) -> Tensor:
        """Pooled features of the slow and of the fast path, float [B, D]."""
        planes = self.stem(repeat_valid_frames(clip_BCTHW, num_valid_frames_B))
        slow, fast = self.slow_stem(planes[:, :, :: self.alpha]), self.fast_stem(planes)
        for lateral, slow_stage, fast_stage in zip(
            self.laterals, self.slow_stages, self.fast_stages, strict=True
        ):
            slow = slow_stage(torch.cat([slow, lateral(fast)], dim=1))
            fast = fast_stage(fast)
        return torch.cat([slow.mean((2, 3, 4)), fast.mean((2, 3, 4))], dim=1)


def _path_stem(in_chans: int, width: int, *, time_kernel: int) -> nn.Sequential:
    return nn.Sequential(
        conv_norm_relu(in_chans, width, kernel=(time_kernel, 7, 7), stride=(1, 2, 2)),
        nn.MaxPool3d((1, 3, 3), stride=(1, 2, 2), padding=(0, 1, 1)),
    )


def _lateral(fast_chans: int, *, alpha: int, time_kernel: int) -> nn.Sequential:
    """Fast features at the slow path's frames: 0, alpha, 2 alpha, ..."""
    return conv_norm_relu(
        fast_chans,
        LATERAL_RATIO * fast_chans,
        kernel=(time_kernel, 1, 1),
        stride=(alpha, 1, 1),
    )
