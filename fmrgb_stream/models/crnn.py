"""Clip -> logits: an image backbone on every frame, fully connected layers, an LSTM over time.

After the ResNet+LSTM of S3 (Gingerbread_ResNetCRNN), itself after HHTseng's video-classification.
Shape legend: B batch, C channels, T frames, H height, W width, D features, K outputs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from torch import Tensor, nn

from fmrgb_stream.models.backbone import FrameEncoder
from fmrgb_stream.models.frames import frames_mask, last_valid
from fmrgb_stream.models.interface import ClipModel
from fmrgb_stream.models.stem import Plane

BATCH_NORM_MOMENTUM = 0.01
"""The source's."""


class CRNN(ClipModel):
    """Any timm image backbone, frames folded into the batch, and an LSTM over their embeddings."""

    def __init__(
        self,
        backbone: str,
        *,
        num_outputs: int,
        planes: Sequence[Plane],
        pretrained: bool = False,
        freeze_backbone: bool = False,
        hidden_widths: Sequence[int] = (1024, 768),
        embedding_width: int = 512,
        lstm_width: int = 512,
        num_lstm_layers: int = 3,
        head_width: int = 256,
        drop_rate: float = 0.1,
        backbone_options: Mapping[str, Any] | None = None,
    ) -> None:
        """Build all parts; each default is the source's.

        Args:
            backbone: A timm model name, or `smallcnn`.
            num_outputs: K, classes or regression targets.
            planes: Name, mean and deviation of each of the C planes.
            pretrained: Load timm's weights; the first layer is adapted to the planes.
            freeze_backbone: Never train the backbone, nor its batch statistics (in the source those
                drifted).
            hidden_widths: Fully connected layers with batch norm between backbone and embedding.
            embedding_width: Features of a frame that the LSTM reads.
            lstm_width: Hidden state of each LSTM layer.
            num_lstm_layers: LSTM layers.
            head_width: The layer between LSTM and outputs.
            drop_rate: Before the embedding and before the outputs.
            backbone_options: Further arguments of `timm.create_model`.
        """
        super().__init__()
        self.encoder = FrameEncoder(
            backbone,
            planes,
            pretrained=pretrained,
            freeze=freeze_backbone,
            options=backbone_options,
        )
        widths = (self.encoder.num_features, *hidden_widths)
        self.embedding = nn.Sequential(
            *(_hidden(a, b) for a, b in pairwise(widths)),
            nn.Dropout(drop_rate),
            nn.Linear(widths[-1], embedding_width),
        )
        self.lstm = nn.LSTM(embedding_width, lstm_width, num_lstm_layers, batch_first=True)
        self.num_features = lstm_width
        self.head = nn.Sequential(
            nn.Linear(lstm_width, head_width),
            nn.ReLU(inplace=True),
            nn.Dropout(drop_rate),
            nn.Linear(head_width, num_outputs),
        )

    def embed(self, clip_BCTHW: Tensor, num_valid_frames_B: Tensor | None = None) -> Tensor:
        """The LSTM's output at the last frame that counts, float [B, D]."""
        features_BTD = self.encoder(clip_BCTHW, num_valid_frames_B)
        embedded = self.embedding(features_BTD.flatten(0, 1))
        states_BTD, _ = self.lstm(embedded.unflatten(0, features_BTD.shape[:2]))
        return last_valid(states_BTD, frames_mask(clip_BCTHW, num_valid_frames_B))


def _hidden(num_inputs: int, width: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(num_inputs, width),
        nn.BatchNorm1d(width, momentum=BATCH_NORM_MOMENTUM),
        nn.ReLU(inplace=True),
    )
