"""Clip -> logits: an encoder reads every plane, a decoder goes over the first one and looks back.

S0's sequence-to-sequence network, with attention over time and planes (Luong et al. 2015) and no
loop over frames. Shape legend: B batch, C channels, T frames, D features, K outputs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from fmrgb_stream.models.channel_encoder import ChannelEncoder
from fmrgb_stream.models.frames import frames_mask, last_valid
from fmrgb_stream.models.interface import ClipModel
from fmrgb_stream.models.layers import classifier
from fmrgb_stream.models.stem import Plane


class Seq2Seq(ClipModel):
    """Encoder states of all planes are the memory; the decoder's last output is the embedding."""

    def __init__(
        self,
        backbone: str,
        *,
        num_outputs: int,
        planes: Sequence[Plane],
        pretrained: bool = False,
        freeze_backbone: bool = False,
        is_shared: bool = False,
        width: int = 256,
        num_heads: int = 8,
        drop_rate: float = 0.0,
        backbone_options: Mapping[str, Any] | None = None,
    ) -> None:
        """Build encoder, decoder and head.

        Args:
            backbone: A timm model name, or `smallcnn`.
            num_outputs: K, classes or regression targets.
            planes: Name, mean and deviation of each of the C planes.
            pretrained: Load timm's weights, adapted to one plane.
            freeze_backbone: Never train the backbones, nor their batch statistics.
            is_shared: One encoder for all planes.
            width: D, the states of every LSTM.
            num_heads: Of the attention.
            drop_rate: Dropout before the head.
            backbone_options: Further arguments of `timm.create_model`.
        """
        super().__init__()
        self.encoder = ChannelEncoder(
            backbone,
            planes,
            width=width,
            is_shared=is_shared,
            pretrained=pretrained,
            freeze=freeze_backbone,
            options=backbone_options,
        )
        self.plane_code = nn.Parameter(torch.empty(len(planes), 1, width).normal_(std=0.02))
        self.query = nn.LSTM(width, width, batch_first=True)
        self.attention = nn.MultiheadAttention(width, num_heads, batch_first=True)
        self.decoder = nn.LSTM(2 * width, width, batch_first=True)
        self.num_features = width
        self.head = classifier(width, num_outputs, drop_rate=drop_rate)

    def embed(self, clip_BCTHW: Tensor, num_valid_frames_B: Tensor | None = None) -> Tensor:
        """The decoder's output at the last frame that counts, float [B, D]."""
        mask_BT = frames_mask(clip_BCTHW, num_valid_frames_B)
        states_BCTD = self.encoder(clip_BCTHW, num_valid_frames_B)
        memory = (states_BCTD + self.plane_code.to(states_BCTD.dtype)).flatten(1, 2)
        queries_BTD, _ = self.query(states_BCTD[:, 0])
        context_BTD, _ = self.attention(
            queries_BTD,
            memory,
            memory,
            key_padding_mask=~mask_BT.repeat(1, states_BCTD.shape[1]),
            need_weights=False,
        )
        decoded_BTD, _ = self.decoder(torch.cat([queries_BTD, context_BTD], dim=2))
        return last_valid(decoded_BTD, mask_BT)
