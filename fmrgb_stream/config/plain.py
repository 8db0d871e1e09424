"""Config dataclass <-> plain values, as YAML and JSON have them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar, cast, get_type_hints

from fmrgb_stream.errors import ConfigError

Config = TypeVar("Config")


def plain_config(config: Any) -> dict[str, Any]:
    """Every field of a config dataclass by name; tuples become lists, mappings dicts."""
    return {field.name: _plain(getattr(config, field.name)) for field in fields(config)}


def config_from_plain(config_type: type[Config], values: object, *, where: str = "") -> Config:
    """The config that `plain_config` described; what is not there keeps its default.

    Args:
        config_type: A dataclass of settings.
        values: As YAML gives them.
        where: Name of the part that `values` is, for the error.

    Raises:
        ConfigError: a name is not known, a part is not a mapping, or values do not fit each other.
    """
    if not isinstance(values, Mapping):
        raise ConfigError(f"{where or 'config'}={values!r} must be a mapping of names to values")
    given = cast("Mapping[str, object]", values)
    types = get_type_hints(config_type)
    unknown = sorted(given.keys() - types.keys())
    if unknown:
        raise ConfigError(
            f"{where or 'config'} has no settings {unknown}; there are {sorted(types)}"
        )
    return config_type(
        **{name: _typed(types[name], value, f"{where}{name}") for name, value in given.items()}
    )


def _typed(field_type: Any, value: object, name: str) -> object:
    if is_dataclass(field_type):
        return config_from_plain(cast("type[Any]", field_type), value, where=f"{name}.")
    # YAML has no tuples, and no setting of ours is a list.
    return tuple(cast("list[object]", value)) if isinstance(value, list) else value


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        return plain_config(value)
    if isinstance(value, Mapping):
        return {name: _plain(part) for name, part in cast("Mapping[str, Any]", value).items()}
    if isinstance(value, (list, tuple)):
        return [_plain(part) for part in cast("list[Any]", value)]
    return value
