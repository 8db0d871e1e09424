"""Channel subsets -> one training each, all else equal: what every channel is worth."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from rich.console import Console
from torch import nn

from fmrgb_stream.channels import CHANNELS, FLOW, MEL, RGB_PLANES
from fmrgb_stream.config import TrainConfig
from fmrgb_stream.training.metrics_file import MetricsFile
from fmrgb_stream.training.records import TrainResult
from fmrgb_stream.training.trainer import Loaders, train


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One channel subset by name."""

    name: str
    channels: tuple[str, ...]


FULL_AND_WITHOUT_EACH = (
    Variant(name="all channels", channels=CHANNELS),
    Variant(name="without flow", channels=tuple(c for c in CHANNELS if c != FLOW)),
    Variant(name="without mel", channels=tuple(c for c in CHANNELS if c != MEL)),
    Variant(name="without RGB", channels=tuple(c for c in CHANNELS if c not in RGB_PLANES)),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class AblationRow:
    """One variant and how its training went."""

    variant: Variant
    result: TrainResult


def run_ablation(
    build: Callable[[Variant], tuple[nn.Module, Loaders]],
    *,
    config: TrainConfig,
    variants: Iterable[Variant] = FULL_AND_WITHOUT_EACH,
    metrics: MetricsFile | None = None,
    console: Console | None = None,
    on_row: Callable[[AblationRow], None] | None = None,
) -> list[AblationRow]:
    """Train one model a variant with the same settings and seed.

    Args:
        build: Makes a new model and its loaders; they are the caller's to close.
        config: The same for every variant.
        variants: All five channels and without each of the three kinds, by default.
        metrics: Shared by all variants, whose names are the run names.
        console: For the progress bars.
        on_row: Told of each variant when it is done.
    """
    rows: list[AblationRow] = []
    for variant in variants:
        model, loaders = build(variant)
        result = train(
            model,
            loaders,
            config=config,
            metrics=metrics,
            console=console,
            label=variant.name,
        )
        rows.append(AblationRow(variant=variant, result=result))
        if on_row is not None:
            on_row(rows[-1])
    return rows
