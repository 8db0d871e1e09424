"""Clip -> logits: torchvision's video networks, for C planes.

Shape legend: B batch, D features, K outputs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, cast

from torch import Tensor, nn
from torchvision.models import get_model

from fmrgb_stream.models.frames import repeat_valid_frames
from fmrgb_stream.models.interface import ClipModel
from fmrgb_stream.models.layers import classifier
from fmrgb_stream.models.rgb_weights import load_rgb_weights
from fmrgb_stream.models.stem import ClipStem, Plane

FIRST_CONV: Final = {
    "mc3_18": "stem.0",
    "r2plus1d_18": "stem.0",
    "r3d_18": "stem.0",
    "swin3d_t": "patch_embed.proj",
}
"""Networks that take any T, H and W, and the layer that reads the planes."""
LAST_LAYER: Final = {"mc3_18": "fc", "r2plus1d_18": "fc", "r3d_18": "fc", "swin3d_t": "head"}


class TorchvisionVideo(ClipModel):
    """One of torchvision's networks between our stem and our head."""

    def __init__(
        self,
        network: str,
        *,
        num_outputs: int,
        planes: Sequence[Plane],
        pretrained: bool = False,
        drop_rate: float = 0.0,
    ) -> None:
        """Build the network without its last layer.

        Args:
            network: A key of `FIRST_CONV`.
            num_outputs: K, classes or regression targets.
            planes: Name, mean and deviation of each of the C planes.
            pretrained: Load torchvision's Kinetics-400 weights (this downloads them); the first layer
                is adapted to the planes.
            drop_rate: Dropout before the head.
        """
        super().__init__()
        self.stem = ClipStem(planes)
        self.net, self.num_features = _trunk(network)
        _set_input_planes(self.net, FIRST_CONV[network], len(planes))
        if pretrained:
            twin, _ = _trunk(network, weights="DEFAULT")
            load_rgb_weights(self.net, twin.state_dict(), planes)
        self.head = classifier(self.num_features, num_outputs, drop_rate=drop_rate)

    def embed(self, clip_BCTHW: Tensor, num_valid_frames_B: Tensor | None = None) -> Tensor:
        """The network's pooled features, float [B, D]."""
        return self.net(self.stem(repeat_valid_frames(clip_BCTHW, num_valid_frames_B)))


def _trunk(network: str, *, weights: str | None = None) -> tuple[nn.Module, int]:
    net = get_model(network, weights=weights)
    last = cast("nn.Linear", net.get_submodule(LAST_LAYER[network]))
    net.set_submodule(LAST_LAYER[network], nn.Identity())
    return net, last.in_features


def _set_input_planes(net: nn.Module, name: str, num_planes: int) -> None:
    conv = cast("nn.Conv3d", net.get_submodule(name))
    if conv.in_channels == num_planes:
        return
    new = nn.Conv3d(
        num_planes,
        conv.out_channels,
        cast("tuple[int, int, int]", conv.kernel_size),
        stride=cast("tuple[int, int, int]", conv.stride),
        padding=cast("tuple[int, int, int]", conv.padding),
        bias=conv.bias is not None,
    )
    net.set_submodule(name, new)
