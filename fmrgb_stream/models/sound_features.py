"""Vector of sound features -> hidden layers, behind a scaler that training fills."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from torch import nn

from fmrgb_stream.models.interface import CLIP_FIELDS
from fmrgb_stream.models.layers import hidden_layers

FEATURE_FIELDS: Final = (*CLIP_FIELDS, "audio_features")
NUM_AUDIO_FEATURES: Final = 26
"""`ClipBatch.audio_features`: chroma, rms, centroid, bandwidth, rolloff, zero crossings, 20 MFCC."""


def feature_layers(
    num_inputs: int, widths: Sequence[int], *, drop_rate: float = 0.0
) -> nn.Sequential:
    """Float [B, num_inputs] of any scale -> [B, widths[-1]].

    The first layer takes mean and deviation over all training batches (`momentum=None` averages
    them), as a standard scaler does: centroids are thousands of hertz, zero crossings a tenth.
    """
    return nn.Sequential(
        nn.BatchNorm1d(num_inputs, affine=False, momentum=None),
        hidden_layers((num_inputs, *widths), drop_rate=drop_rate),
    )
