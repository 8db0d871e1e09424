"""Config dataclass <-> command-line flags."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from typing import TYPE_CHECKING, Any, TypeVar, get_type_hints

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser, Namespace

Config = TypeVar("Config")


def add_config_flags(
    parser: ArgumentParser, config_type: type[Any], *, prefix: str = "", skip: Collection[str] = ()
) -> None:
    """One flag a field: `num_frames` becomes `--num-frames`, its docstring the help.

    A field that is itself a dataclass gives `--field.subfield`; `prefix` (e.g. `clip.`) goes before
    all names. Fields in `skip` get no flag.
    """
    from jsonargparse import ActionYesNo

    types = get_type_hints(config_type)
    helps = _field_docs(config_type)
    for field in fields(config_type):
        if field.name in skip:
            continue
        field_type, default = types[field.name], _default(field)
        flag = f"--{prefix}{field.name}".replace("_", "-")
        if is_dataclass(field_type):
            nested: Any = field_type
            add_config_flags(parser, nested, prefix=f"{prefix}{field.name}.")
        elif field_type is bool:
            parser.add_argument(
                flag, action=ActionYesNo, default=default, help=helps.get(field.name)
            )
        else:
            parser.add_argument(flag, type=field_type, default=default, help=helps.get(field.name))


def config_from_flags(
    arguments: Namespace, config_type: type[Config], *, prefix: str = "", **overrides: Any
) -> Config:
    """The config that the flags of `add_config_flags` describe; `overrides` win.

    Raises:
        ConfigError: the values do not fit each other.
    """
    types = get_type_hints(config_type)
    values: dict[str, Any] = {}
    for field in fields(config_type):  # pyright: ignore[reportArgumentType]
        name = f"{prefix}{field.name}"
        if field.name in overrides:
            values[field.name] = overrides[field.name]
        elif is_dataclass(types[field.name]):
            nested: type[Any] = types[field.name]
            values[field.name] = config_from_flags(arguments, nested, prefix=f"{name}.")
        elif name in arguments:
            values[field.name] = arguments[name]
    return config_type(**values)


def _default(field: Field[Any]) -> Any:
    value = field.default
    if value is MISSING and field.default_factory is not MISSING:
        value = field.default_factory()
    # A read-only mapping cannot be printed as YAML by --print_config.
    return {**value} if isinstance(value, Mapping) else value


def _field_docs(config_type: type[Any]) -> dict[str, str]:
    from docstring_parser import parse_from_object

    try:
        parsed = parse_from_object(config_type)
    except OSError:
        return {}  # no source beside the bytecode: flags without help texts
    return {
        param.arg_name: inspect.cleandoc(param.description or "").replace("%", "%%")
        for param in parsed.params
    }
