"""The DALI library, loaded when first needed. It carries no types that a checker could use."""

from __future__ import annotations

import importlib
import importlib.util
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from fmrgb_stream.errors import MissingExtraError


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
