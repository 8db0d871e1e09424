"""What a model said of every clip of a split, and what is true: one row a clip, each once.

Shape legend: B clips, K outputs (classes or targets), N targets.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from fmrgb_stream.errors import ConfigError
from fmrgb_stream.pipelines.label_columns import NO_LABEL
from fmrgb_stream.training.truth import TruthKind

if TYPE_CHECKING:
    from numpy.typing import NDArray

    FloatArray = NDArray[np.float32]

Activation = Literal["softmax", "sigmoid", "none"]
"""What makes values of a model's outputs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcomes:
    """Rows in the order of samples and windows."""

    split: str
    kind: TruthKind
    activation: Activation
    """Softmax where classes exclude each other in training, sigmoid after `bce`, none for targets."""
    names: tuple[str, ...]
    """Of the K outputs: classes, labels or targets."""
    keys: tuple[str, ...]
    groups: tuple[str, ...]
    sample_ids: NDArray[np.int64]
    """int64 [B]: places of the samples in the split."""
    window_indices: NDArray[np.int64]
    """int64 [B]: which window of its sample; 0 when there is one."""
    spans_seconds: NDArray[np.float64]
    """float64 [B, 2]: times of the first and of the last frame of each clip."""
    outputs: FloatArray
    """float32 [B, K]: logits, or numbers."""
    labels: NDArray[np.int64] | None
    """int64 [B] for `classes`, `NO_LABEL` where there is none; None for unlabelled data."""
    targets: FloatArray | None
    """float32 [B, K] for `labels` and `targets`, NaN where there is none; None likewise."""
    unreadable: tuple[str, ...] = ()
    """Keys of samples that could not be read: they have no row."""

    def __post_init__(self) -> None:
        """Check that all columns speak of the same clips and outputs."""
        num_clips, shape = len(self.keys), (len(self.keys), len(self.names))
        if self.outputs.shape != shape:
            raise ValueError(f"outputs have shape {self.outputs.shape}, not {shape}")
        if self.targets is not None and self.targets.shape != shape:
            raise ValueError(f"targets have shape {self.targets.shape}, not {shape}")
        columns = [self.groups, self.sample_ids, self.window_indices, self.spans_seconds]
        columns += [] if self.labels is None else [self.labels]
        if any(len(column) != num_clips for column in columns):
            raise ValueError(f"columns of {[len(c) for c in columns]} rows for {num_clips} clips")

    def __len__(self) -> int:
        """B."""
        return len(self.keys)

    @property
    def values(self) -> FloatArray:
        """float32 [B, K]: what is averaged and written: probabilities, or the numbers themselves."""
        return as_values(self.outputs, self.activation)

    @property
    def has_truth(self) -> NDArray[np.bool_]:
        """Bool [B]: rows that can be scored."""
        if self.labels is not None:
            return np.not_equal(self.labels, NO_LABEL)
        if self.targets is not None:
            return np.isnan(self.targets).sum(axis=1) == 0
        return np.zeros(len(self), dtype=np.bool_)

    def rows(self, chosen: NDArray[np.int64] | NDArray[np.bool_]) -> Outcomes:
        """The same with these rows only, in this order."""
        indices = np.arange(len(self))[chosen]
        return replace(
            self,
            keys=tuple(self.keys[i] for i in indices),
            groups=tuple(self.groups[i] for i in indices),
            sample_ids=self.sample_ids[indices],
            window_indices=self.window_indices[indices],
            spans_seconds=self.spans_seconds[indices],
            outputs=self.outputs[indices],
            labels=None if self.labels is None else self.labels[indices],
            targets=None if self.targets is None else self.targets[indices],
        )


def as_values(outputs: FloatArray, activation: Activation) -> FloatArray:
    """Logits float32 [B, K] -> probabilities; numbers stay what they are."""
    if activation == "none":
        return outputs
    exact = outputs.astype(np.float64)
    if activation == "sigmoid":
        # The form that cannot overflow.
        return (0.5 * (1 + np.tanh(0.5 * exact))).astype(np.float32)
    powers = np.exp(exact - exact.max(axis=1, keepdims=True))
    return (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)


def labels_by_name(
    labels: NDArray[np.int64], *, found: Sequence[str], wanted: Sequence[str]
) -> NDArray[np.int64]:
    """A dataset's labels int64 [B] -> indices of the model's classes, by name.

    Args:
        labels: Indices into `found`; `NO_LABEL` stays.
        found: Class names of the dataset.
        wanted: Class names of the model.

    Raises:
        ConfigError: the dataset has a class that the model does not know.
    """
    unknown = [name for name in found if name not in wanted]
    if unknown:
        raise ConfigError(
            f"the dataset has classes {unknown} that the model does not know; it knows "
            f"{list(wanted)}. Pack the data with those names, train with this data, or use "
            "fmrgb predict --unlabelled, which leaves labels out"
        )
    place = np.array([*(wanted.index(name) for name in found), NO_LABEL], dtype=np.int64)
    return place[np.where(labels == NO_LABEL, len(found), labels)]
