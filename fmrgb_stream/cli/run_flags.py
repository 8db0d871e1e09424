"""Flags of the commands that ask a trained model <-> what is asked."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from fmrgb_stream.errors import ConfigError

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser, Namespace

    from fmrgb_stream.training.trained import Asked

ALL_SPLITS: Final = "all"


def add_asked_flags(parser: ArgumentParser) -> None:
    """What may differ from the run's own validation."""
    parser.add_argument(
        "--window",
        type=float | None,
        default=None,
        help="Seconds: windows of this length slide over each sample, and are averaged.",
    )
    parser.add_argument(
        "--hop", type=float | None, default=None, help="Seconds from window to window."
    )
    parser.add_argument(
        "--channels",
        type=str | None,
        default=None,
        help="Planes that stay on, e.g. red,green,blue or rgb; the model's others hold nothing.",
    )
    parser.add_argument(
        "--cross-channels",
        type=str | None,
        default=None,
        help="Planes that the model reads in place of those it was trained on, e.g. mel.",
    )
    parser.add_argument(
        "--modality",
        type=str | None,
        default=None,
        help="fusion/shared models: picture, sound or both.",
    )
    add_loading_flags(parser)


def add_loading_flags(parser: ArgumentParser) -> None:
    """How the clips are brought, which changes no prediction."""
    parser.add_argument(
        "--root", type=str | None, default=None, help="Packed dataset; the run's own by default."
    )
    parser.add_argument(
        "--batch-size", type=int | None, default=None, help="Clips a step over all processes."
    )
    parser.add_argument(
        "--num-workers", type=int | None, default=None, help="Clips made at the same time."
    )
    parser.add_argument(
        "--device", type=str | None, default=None, help="cpu, or auto: a GPU where there is one."
    )


def asked_from(arguments: Namespace) -> Asked:
    """What the flags of `add_asked_flags` ask."""
    return replace(
        loading_from(arguments),
        window_seconds=arguments.window,
        hop_seconds=arguments.hop,
        channels=plane_names(arguments.channels),
        cross_channels=plane_names(arguments.cross_channels),
        modality=arguments.modality,
    )


def loading_from(arguments: Namespace) -> Asked:
    """What the flags of `add_loading_flags` ask."""
    from fmrgb_stream.training.trained import Asked

    return Asked(
        root=arguments.root,
        batch_size=arguments.batch_size,
        num_workers=arguments.num_workers,
        device=_device(arguments.device),
    )


@contextmanager
def waiting_for_all() -> Generator[None]:
    """Part from the other processes that a launcher began, however the work ends."""
    from fmrgb_stream.training.acceleration import end_processes

    try:
        yield
    finally:
        end_processes()


def plane_names(text: str | None) -> tuple[str, ...] | None:
    """`red,green` -> plane names or presets."""
    if text is None:
        return None
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _device(device: str | None) -> str | None:
    if device not in (None, "cpu", "auto"):
        raise ConfigError(f"--device {device!r}: cpu, or auto for a GPU where there is one")
    return device
