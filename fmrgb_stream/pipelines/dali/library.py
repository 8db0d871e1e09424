"""The DALI library, loaded when first needed. It carries no types that a checker could use."""

from __future__ import annotations

import importlib
import importlib.util
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from fmrgb_stream.errors import ConfigError, MissingExtraError

CURE: Final = (
    "Install the extra that fits the driver (dali-cu13, or dali-cu12 for an older one), or set "
    "backend='cpu'"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Dali:
    """DALI's modules."""

    # Any: DALI's operators are made when it is loaded, and no stub tells what they take.
    pipeline_def: Any
    do_not_convert: Any
    """Marks functions whose Python is left as it is in graphs with conditions."""
    fn: Any
    types: Any


def has_dali() -> bool:
    """Whether DALI is installed."""
    try:
        return importlib.util.find_spec("nvidia.dali") is not None
    except (ImportError, ValueError):
        return False


@lru_cache(maxsize=1)
def load_dali() -> Dali:
    """Load DALI.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        dali = importlib.import_module("nvidia.dali")
        fn, types, pipeline = (
            importlib.import_module(f"nvidia.dali.{name}") for name in ("fn", "types", "pipeline")
        )
    except ImportError as error:
        raise MissingExtraError("nvidia-dali", "dali-cu13", "backend='dali'") from error
    return Dali(
        pipeline_def=dali.pipeline_def,
        do_not_convert=pipeline.do_not_convert,
        fn=fn,
        types=types,
    )


def check_device(device_id: int | None) -> None:
    """Have DALI run something on a GPU: that it is installed does not say that the driver suits it.

    Args:
        device_id: index of the GPU; None is the CPU, which always does.

    Raises:
        ConfigError: it does not run there.
    """
    dali = load_dali()

    @dali.pipeline_def(batch_size=1, num_threads=1, device_id=device_id)
    def nothing() -> Any:
        device = "cpu" if device_id is None else "gpu"
        return dali.fn.constant(idata=[0], device=device)

    try:
        graph = nothing()
        graph.build()
        graph.run()
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"DALI does not run on GPU {device_id}: {reason}. {CURE}") from error
