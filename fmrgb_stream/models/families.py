"""Model name -> what builds it: the list of all families and networks."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any, Final

from fmrgb_stream.models.backbone import SMALL_CNN
from fmrgb_stream.models.conv3d import Conv3dNet
from fmrgb_stream.models.convlstm import ConvLSTM
from fmrgb_stream.models.crnn import CRNN
from fmrgb_stream.models.frame_pool import FramePool
from fmrgb_stream.models.inflated import Inflated
from fmrgb_stream.models.interface import ClipModel
from fmrgb_stream.models.late_fusion import LateFusion
from fmrgb_stream.models.mlp import MLP
from fmrgb_stream.models.multichannel import MultiChannel
from fmrgb_stream.models.seq2seq import Seq2Seq
from fmrgb_stream.models.shared_encoder import SharedEncoder
from fmrgb_stream.models.slowfast import SlowFast
from fmrgb_stream.models.torchvision_video import FIRST_CONV, TorchvisionVideo
from fmrgb_stream.models.vivit import ViViT

Builder = Callable[..., ClipModel]

FAMILIES: Final[Mapping[str, Builder]] = MappingProxyType(
    {
        "crnn": CRNN,
        "frame_pool": FramePool,
        "fusion/late": LateFusion,
        "fusion/shared": SharedEncoder,
        "i3d": partial(Inflated, kernels="3d"),
        "multichannel": MultiChannel,
        "r2plus1d": partial(Inflated, kernels="2+1d"),
        "seq2seq": Seq2Seq,
        "vivit": ViViT,
    }
)
"""Each goes with any timm image backbone: `crnn/resnet34`."""

NETWORKS: Final[Mapping[str, Builder]] = MappingProxyType(
    {
        "conv3d": Conv3dNet,
        "convlstm": ConvLSTM,
        "mlp": MLP,
        "multichannel": partial(MultiChannel, SMALL_CNN),
        "seq2seq": partial(Seq2Seq, SMALL_CNN),
        "slowfast_r18": partial(SlowFast, depths=(2, 2, 2, 2), has_bottleneck=False),
        "slowfast_r50": partial(SlowFast, depths=(3, 4, 6, 3)),
        # As published: its lateral connections see 5 frames.
        "slowfast_r101": partial(SlowFast, depths=(3, 4, 23, 3), lateral_time_kernel=5),
        SMALL_CNN: partial(FramePool, SMALL_CNN),
        # S0's space transformer: 4 layers of 192 features on patches of 4 pixels.
        "vivit_tiny_patch4": partial(
            ViViT, "vit_tiny_patch16_224", backbone_options={"patch_size": 4, "depth": 4}
        ),
        "vivit_tiny_patch16": partial(ViViT, "vit_tiny_patch16_224"),
        "vivit_small_patch16": partial(ViViT, "vit_small_patch16_224"),
        "vivit_base_patch16": partial(ViViT, "vit_base_patch16_224"),
        **{name: partial(TorchvisionVideo, name) for name in FIRST_CONV},
    }
)
"""Each is whole by its own name."""

MIXTURE: Final = "moe"
"""`moe/` before any other name makes that model the expert: `moe/conv3d`, `moe/crnn/resnet18`."""

SET_BY_CREATE_MODEL: Final = frozenset(
    {"self", "backbone", "network", "num_outputs", "planes", "sound_plane", "pretrained"}
)


def accepts(build: Builder) -> frozenset[str]:
    """The names of all arguments."""
    target: Any = build.func if isinstance(build, partial) else build
    return frozenset(inspect.signature(target.__init__).parameters)
