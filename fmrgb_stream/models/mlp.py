"""Sound features -> logits: fully connected layers on the 26 numbers of a clip's sound (S4's 1-D model).

Shape legend: B batch, F features, D embedding, K outputs.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from fmrgb_stream.errors import ConfigError
from fmrgb_stream.models.interface import ClipModel
from fmrgb_stream.models.layers import classifier
from fmrgb_stream.models.sound_features import (
    FEATURE_FIELDS,
    NUM_AUDIO_FEATURES,
    feature_layers,
)
from fmrgb_stream.models.stem import Plane


class MLP(ClipModel):
    """Reads `audio_features` only."""

    batch_fields = FEATURE_FIELDS

    def __init__(
        self,
        *,
        num_outputs: int,
        planes: Sequence[Plane],
        num_audio_features: int = NUM_AUDIO_FEATURES,
        widths: Sequence[int] = (256, 128),
        drop_rate: float = 0.2,
    ) -> None:
        """Build the layers.

        Args:
            num_outputs: K, classes or regression targets.
            planes: Not used: the clip is not read.
            num_audio_features: F.
            widths: Hidden layers; the last one is D.
            drop_rate: After each hidden layer.
        """
        super().__init__()
        del planes
        self.layers = feature_layers(num_audio_features, widths, drop_rate=drop_rate)
        self.num_features = widths[-1]
        self.head = classifier(self.num_features, num_outputs, drop_rate=0.0)

    def embed(
        self,
        clip_BCTHW: Tensor,
        num_valid_frames_B: Tensor | None = None,
        audio_features_BF: Tensor | None = None,
    ) -> Tensor:
        """The last hidden layer, float [B, D]; the arguments are those of `forward`."""
        del clip_BCTHW, num_valid_frames_B
        if audio_features_BF is None:
            raise ConfigError(
                "mlp needs audio_features; use ClipConfig(extras=('audio_features',))"
            )
        return self.layers(audio_features_BF)

    def forward(
        self,
        clip_BCTHW: Tensor,
        num_valid_frames_B: Tensor | None = None,
        audio_features_BF: Tensor | None = None,
    ) -> Tensor:
        """Logits, or regression outputs, float [B, K].

        Args:
            clip_BCTHW: Not read; it stands first in every model's arguments.
            num_valid_frames_B: Not read.
            audio_features_BF: float32.

        Raises:
            ConfigError: there are no features.
        """
        return self.head(self.embed(clip_BCTHW, num_valid_frames_B, audio_features_BF))
