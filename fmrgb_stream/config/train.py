"""How a model is trained: one frozen dataclass, checked when made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from fmrgb_stream.config.checks import check_choice, check_count, check_positive
from fmrgb_stream.errors import ConfigError

LossName = Literal["cross_entropy", "bce", "mse", "pair", "softrank"]
RankAxis = Literal["task", "batch"]
OptimiserName = Literal["adamw", "adam"]
Schedule = Literal["cosine", "tanh", "poly", "step", "constant"]
MixedPrecision = Literal["no", "fp16", "bf16"]
SelectBy = Literal["loss", "score"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig:
    """Optimiser, schedule, loss, and when to stop."""

    epochs: int = 20
    optimiser: OptimiserName = "adamw"
    """`adam` adds the weight decay to the gradient, `adamw` takes it off the weights."""
    lr: float = 1e-3
    """Peak learning rate."""
    weight_decay: float = 0.05
    """On matrices and kernels; biases and norms have none."""
    warmup_fraction: float = 0.1
    """Leading share of all steps in which the learning rate rises from zero."""
    schedule: Schedule = "cosine"
    """After warm-up: `cosine`, `tanh` and `poly` fall to zero over the remaining steps; `step`
    multiplies by `decay_factor` every `decay_epochs`."""
    decay_epochs: int = 10
    """`step` only."""
    decay_factor: float = 0.1
    """`step` only."""
    accumulation: int = 1
    """Micro-batches that make one optimiser step; the clips of a step stay the same."""
    clip_grad_norm: float | None = 5.0
    """Largest gradient norm; None does not clip."""
    loss: LossName = "cross_entropy"
    """`cross_entropy` for classes; `bce` for classes or for targets that are 0 or 1; `mse`, `pair`,
    `softrank` for targets."""
    rank_axis: RankAxis = "batch"
    """`pair` and `softrank` only. `batch` ranks the clips within each target, which is what
    Spearman measures; `task` ranks the targets within each clip."""
    pair_alpha: float = 0.5
    """`pair` only: share of the ranking term; the rest is the squared error."""
    softrank_tau: float = 0.1
    """`softrank` only: differences well above this count as decided."""
    label_smoothing: float = 0.0
    ema_decay: float | None = None
    """Validate and keep an exponential moving average of the weights; None does not average."""
    compile: bool = False
    """Let torch compile the model: minutes at the start, quicker steps afterwards."""
    seed: int = 0
    """Of weights, dropout, the order of clips and the place of random windows."""
    mixed_precision: MixedPrecision = "no"
    select_by: SelectBy = "loss"
    """What makes a validation epoch the best: lowest loss, or highest score."""
    patience: int | None = None
    """Stop after this many epochs without a better one; None trains all epochs."""

    def __post_init__(self) -> None:
        """Check every field."""
        check_choice("loss", self.loss, LossName)
        check_choice("rank_axis", self.rank_axis, RankAxis)
        check_choice("optimiser", self.optimiser, OptimiserName)
        check_choice("schedule", self.schedule, Schedule)
        check_choice("mixed_precision", self.mixed_precision, MixedPrecision)
        check_choice("select_by", self.select_by, SelectBy)
        for name in ("epochs", "patience", "decay_epochs", "accumulation"):
            check_count(name, getattr(self, name))
        for name in ("lr", "clip_grad_norm", "softrank_tau", "decay_factor"):
            check_positive(name, getattr(self, name))
        for name in ("warmup_fraction", "pair_alpha", "label_smoothing", "ema_decay"):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= 1:
                raise ConfigError(f"{name}={value} must lie in 0..1")
        if self.weight_decay < 0:
            raise ConfigError(f"weight_decay={self.weight_decay} must not be negative")
        if self.label_smoothing and self.loss != "cross_entropy":
            raise ConfigError(f"label_smoothing goes with cross_entropy, not loss={self.loss!r}")
