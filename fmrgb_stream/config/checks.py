"""Values -> ConfigError when they cannot work."""

from __future__ import annotations

import math
from typing import Any, get_args

from fmrgb_stream.errors import ConfigError


def check_choice(name: str, value: object, choices: Any) -> None:
    """Refuse a value outside a Literal.

    Raises:
        ConfigError: with the value and what is allowed.
    """
    allowed = get_args(choices)
    if value not in allowed:
        raise ConfigError(f"{name}={value!r} is not known; choose one of {list(allowed)}")


def check_positive(name: str, value: Any) -> None:
    """Refuse zero, negatives, NaN and what is no number; None passes.

    Raises:
        ConfigError: with the value.
    """
    if value is None:
        return
    try:
        is_good = not isinstance(value, bool) and math.isfinite(value) and value > 0
    except TypeError:  # no number
        is_good = False
    if not is_good:
        raise ConfigError(f"{name}={value!r} must be a positive number")


def check_count(name: str, value: object) -> None:
    """Refuse everything but whole numbers from 1 on; None passes.

    Raises:
        ConfigError: with the value.
    """
    # bool is an int to Python, but True is no count; 2.0 would fail later, far from its cause.
    if value is None or (isinstance(value, int) and not isinstance(value, bool) and value > 0):
        return
    raise ConfigError(f"{name}={value!r} must be a positive whole number")
