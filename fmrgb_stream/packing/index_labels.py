"""What lies beside the media (json, cls, txt, the key's folder) -> classes, targets and groups.

A dataset's classes are known when all its shards were read, so what each sample says is kept in the
sidecar until then.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from fmrgb_stream.config import IndexConfig
from fmrgb_stream.errors import ConfigError
from fmrgb_stream.packing.sources import sorted_classes
from fmrgb_stream.shards.members import kind_of_extension

if TYPE_CHECKING:
    from fmrgb_stream.packing.index_tar import TarSample

Said = dict[str, Any]
"""What one sample says, by where: `cls`, `txt`, `folder`, `json.FIELD`; plain JSON values."""

_AUTO: Final = ("cls", "json.label_name", "json.label", "json.class", "json.cls")
_MAX_TEXT: Final = 100
"""Letters of a class name; longer texts are captions."""
_MAX_CLASSES: Final = 100_000
_WHOLE: Final = re.compile(r"-?\d{1,9}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Labels:
    """The labels of all samples, in their order."""

    source: str
    """Where they were found; empty when there are none."""
    classes: tuple[str, ...]
    labels: tuple[int | None, ...]


def what_it_says(sample: TarSample, content: memoryview, config: IndexConfig) -> Said:
    """All that could be a label, target or group of one sample."""
    said: Said = {"folder": sample.key.rpartition("/")[0].rpartition("/")[2]}
    for member in sample.members:
        kind = kind_of_extension(member.extension)
        if kind in ("cls", "txt", "json") and kind not in said:
            part = bytes(content[member.offset : member.offset + member.size])
            text = part.decode("utf-8", "replace").strip()
            if kind == "json":
                said |= _fields(text, config)
            elif len(text) <= _MAX_TEXT and "\n" not in text:
                said[kind] = text
    return {where: value for where, value in said.items() if value not in ("", None)}


def _fields(text: str, config: IndexConfig) -> Said:
    try:
        content: Any = json.loads(text)
    except ValueError:
        return {}  # verify tells
    wanted = {*_AUTO, "json.group", "json.targets", config.label, config.group, *config.targets}
    said: Said = {}
    for where in sorted(wanted):
        if where.startswith("json."):
            value = content
            for name in where.split(".")[1:]:
                value = value.get(name) if isinstance(value, dict) else None
            said[where] = value
    return said


def find_labels(said: Sequence[Mapping[str, Any]], label: str) -> Labels:
    """Classes and each sample's place among them.

    Raises:
        ConfigError: no sample says anything where labels shall be, or what it says is no class.
    """
    source = _source(said, label)
    if source is None:
        return Labels(source="", classes=(), labels=(None,) * len(said))
    texts = [_text(one.get(source), source) for one in said]
    names = {text for text in texts if text is not None}
    if not names:
        raise ConfigError(f"label={label!r}: no sample has it; label='auto' looks elsewhere")
    if all(_WHOLE.fullmatch(name) for name in names):
        numbers = [None if text is None else int(text) for text in texts]
        return Labels(source=source, classes=_numbered(numbers, source), labels=tuple(numbers))
    classes = sorted_classes(names)
    place = {name: number for number, name in enumerate(classes)}
    labels = tuple(None if text is None else place[text] for text in texts)
    return Labels(source=source, classes=classes, labels=labels)


def _source(said: Sequence[Mapping[str, Any]], label: str) -> str | None:
    if label != "auto":
        return None if label == "none" else label
    found = next((where for where in _AUTO if any(where in one for one in said)), None)
    texts = [str(one["txt"]) for one in said if "txt" in one]
    # Classes come again and again; captions hardly ever do.
    if found is None and texts and len(set(texts)) <= len(texts) / 2:
        return "txt"
    return found


def _text(value: Any, source: str) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool) or (isinstance(value, float) and value.is_integer()):
        return str(int(value))
    if isinstance(value, int):
        return str(value)
    raise ConfigError(
        f"label={source!r}: {value!r} is no class; numbers to predict go by targets=[{source!r}] "
        "and label='none'"
    )


def _numbered(numbers: Sequence[int | None], source: str) -> tuple[str, ...]:
    known = [number for number in numbers if number is not None]
    if min(known) < 0 or max(known) >= _MAX_CLASSES:
        raise ConfigError(
            f"label={source!r}: class numbers {min(known)}..{max(known)} must lie in "
            f"0..{_MAX_CLASSES - 1}; numbers to predict go by targets"
        )
    return tuple(str(number) for number in range(max(known) + 1))


def find_targets(
    said: Sequence[Mapping[str, Any]], targets: Sequence[str]
) -> tuple[tuple[str, ...], list[tuple[float, ...] | None]]:
    """(names, each sample's values); of our own json where `targets` is empty.

    Raises:
        ConfigError: samples have different numbers of values, or none, or no numbers.
    """
    sources = tuple(targets)
    if not sources and any(isinstance(one.get("json.targets"), list) for one in said):
        sources = ("json.targets",)
    if not sources:
        return (), [None] * len(said)
    values = [_numbers(one, sources) for one in said]
    counts = {len(row) for row in values}
    if len(counts) != 1:
        raise ConfigError(f"targets {list(sources)}: samples have {sorted(counts)} values each")
    names = [name.removeprefix("json.") for name in sources]
    if len(names) != len(values[0]):
        names = [f"{names[0]}{number}" for number in range(len(values[0]))]
    return tuple(names), list(values)


def _numbers(said: Mapping[str, Any], sources: Sequence[str]) -> tuple[float, ...]:
    found: list[float] = []
    for source in sources:
        value = said.get(source)
        listed: list[Any] = value if isinstance(value, list) else [value]
        try:
            found += [float(one) for one in listed]
        except (TypeError, ValueError) as error:
            raise ConfigError(f"targets: {source} is {value!r} in a sample, no number") from error
    return tuple(found)


def group_of(said: Mapping[str, Any], key: str, group: str) -> str:
    """The sample's group: as told, else itself."""
    where = "json.group" if group == "auto" else group
    value = None if where == "none" else said.get(where)
    return key if value is None else str(value)
