"""Clip -> logits: several models of one kind, mixed by a gate that sees the clip.

Shape legend: B batch, E experts, D features, K outputs.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from fmrgb_stream.errors import ConfigError
from fmrgb_stream.models.interface import ClipModel


class Mixture(ClipModel):
    """Dense mixture of experts: the weighted mean of their logits, weights that sum to one."""

    def __init__(self, experts: Sequence[ClipModel], *, gate: ClipModel) -> None:
        """Keep the experts and the gate.

        Args:
            experts: Two or more models of the same shape.
            gate: A model on the clip alone with one output an expert.

        Raises:
            ConfigError: fewer than two experts.
        """
        super().__init__()
        if len(experts) < 2:
            raise ConfigError(f"num_experts={len(experts)} must be 2 or more")
        self.experts = nn.ModuleList(experts)
        self.gate = gate
        self.batch_fields = experts[0].batch_fields
        self.num_features = experts[0].num_features

    def head_prefixes(self) -> tuple[str, ...]:
        """Every expert has a head of its own."""
        return tuple(
            f"experts.{number}.{prefix}"
            for number, expert in enumerate(self._experts())
            for prefix in expert.head_prefixes()
        )

    def gate_weights(self, clip_BCTHW: Tensor, num_valid_frames_B: Tensor | None = None) -> Tensor:
        """How much each expert counts, float [B, E]; each row sums to one."""
        return self.gate(clip_BCTHW, num_valid_frames_B).softmax(dim=1)

    def embed(
        self, clip_BCTHW: Tensor, num_valid_frames_B: Tensor | None = None, *extras: Tensor
    ) -> Tensor:
        """The weighted mean of the experts' embeddings, float [B, D]."""
        weights_BE = self.gate_weights(clip_BCTHW, num_valid_frames_B)
        embedded = [e.embed(clip_BCTHW, num_valid_frames_B, *extras) for e in self._experts()]
        return _mix(embedded, weights_BE)

    def forward(
        self, clip_BCTHW: Tensor, num_valid_frames_B: Tensor | None = None, *extras: Tensor
    ) -> Tensor:
        """Logits, or regression outputs, float [B, K]; `extras` as the experts take them."""
        weights_BE = self.gate_weights(clip_BCTHW, num_valid_frames_B)
        logits = [expert(clip_BCTHW, num_valid_frames_B, *extras) for expert in self.experts]
        return _mix(logits, weights_BE)

    def _experts(self) -> list[ClipModel]:
        return [expert for expert in self.experts if isinstance(expert, ClipModel)]


def _mix(values: Sequence[Tensor], weights_BE: Tensor) -> Tensor:
    return (torch.stack(list(values), dim=1) * weights_BE[..., None]).sum(1)
