"""How a model is trained: one frozen dataclass, checked when made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from fmrgb_stream.config import check_choice, check_positive
from fmrgb_stream.errors import ConfigError

LossName = Literal["cross_entropy", "mse", "pair", "softrank"]
RankAxis = Literal["task", "batch"]
Schedule = Literal["cosine", "constant"]
MixedPrecision = Literal["no", "fp16", "bf16"]
SelectBy = Literal["loss", "score"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig:
    """Optimiser, schedule, loss, and when to stop."""

    epochs: int = 20
    lr: float = 1e-3
    """Peak learning rate of AdamW."""
    weight_decay: float = 0.05
    """On matrices and kernels; biases and norms have none."""
    warmup_fraction: float = 0.1
    """Leading share of all steps in which the learning rate rises from zero."""
    schedule: Schedule = "cosine"
    """After warm-up: `cosine` falls to zero over the remaining steps."""
    clip_grad_norm: float | None = 5.0
    """Largest gradient norm; None does not clip."""
    loss: LossName = "cross_entropy"
    """`cross_entropy` for classes; `mse`, `pair`, `softrank` for targets."""
    rank_axis: RankAxis = "batch"
    """`pair` and `softrank` only. `batch` ranks the clips within each target, which is what
    Spearman measures; `task` ranks the targets within each clip."""
    pair_alpha: float = 0.5
    """`pair` only: share of the ranking term; the rest is the squared error."""
    softrank_tau: float = 0.1
    """`softrank` only: differences well above this count as decided."""
    label_smoothing: float = 0.0
    seed: int = 0
    mixed_precision: MixedPrecision = "no"
    select_by: SelectBy = "loss"
    """What makes a validation epoch the best: lowest loss, or highest score."""
    patience: int | None = None
    """Stop after this many epochs without a better one; None trains all epochs."""

    def __post_init__(self) -> None:
        """Check every field."""
        check_choice("loss", self.loss, LossName)
        check_choice("rank_axis", self.rank_axis, RankAxis)
        check_choice("schedule", self.schedule, Schedule)
        check_choice("mixed_precision", self.mixed_precision, MixedPrecision)
        check_choice("select_by", self.select_by, SelectBy)
        for name in ("epochs", "lr", "clip_grad_norm", "softrank_tau", "patience"):
            check_positive(name, getattr(self, name))
        for name in ("warmup_fraction", "pair_alpha", "label_smoothing"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{name}={getattr(self, name)} must lie in 0..1")
        if self.weight_decay < 0:
            raise ConfigError(f"weight_decay={self.weight_decay} must not be negative")
        if self.label_smoothing and self.loss != "cross_entropy":
            raise ConfigError(f"label_smoothing goes with cross_entropy, not loss={self.loss!r}")
