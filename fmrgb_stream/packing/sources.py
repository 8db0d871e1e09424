"""A folder or table of media -> SourceListing: what to pack, with label, group and split.

The source is only read. Everything is sorted, so that equal folders give equal lists.
"""

from __future__ import annotations

import hashlib
import os
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from fmrgb_stream.config import SourceParser
from fmrgb_stream.errors import SourceError

MEDIA_EXTENSIONS: Final = frozenset(
    [
        "mp4",
        "mov",
        "mkv",
        "avi",
        "flv",
        "webm",
        "mpg",
        "mpeg",
        "m4v",
        "wmv",
        "ts",
        "3gp",
        "ogv",
        "wav",
        "flac",
        "mp3",
        "m4a",
        "ogg",
        "opus",
        "aac",
    ]
)
TABLE_EXTENSIONS: Final = frozenset({"csv", "jsonl"})
MAX_KEY_BYTES: Final = 80


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceItem:
    """One media file, or one stretch of it, that shall be packed."""

    path: Path
    relative: str
    """From the source folder or the table, with forward slashes: for reports."""
    key: str = ""
    """Unique; set by `with_keys`."""
    label: str | None = None
    targets: tuple[float, ...] | None = None
    group: str | None = None
    """None: the file itself, together with its copies."""
    split: str | None = None
    start_seconds: float | None = None
    """After the first frame; None is the beginning."""
    end_seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reject:
    """One input that was not packed: it cannot be used, or the parser leaves such files out."""

    path: str
    reason: str
    stage: str
    """`parser` (left out on purpose) | `source` | `probe` | `transcode`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceListing:
    """What a source holds."""

    items: tuple[SourceItem, ...]
    classes: tuple[str, ...] = ()
    """Class names by label index; empty without classes."""
    target_names: tuple[str, ...] = ()
    rejects: tuple[Reject, ...] = ()
    skipped: tuple[Reject, ...] = ()
    """Good files that the parser leaves out on purpose."""


def list_source(source: Path, *, parser: SourceParser = "auto") -> SourceListing:
    """Find the media of a source, with what its names or its table say.

    Raises:
        SourceError: nothing there, nothing usable, or a table that cannot be read; with the cure.
    """
    from fmrgb_stream.packing.parsers import FOLDER_PARSERS
    from fmrgb_stream.packing.tables import list_table

    source = source.expanduser().absolute()
    if not source.exists():
        raise SourceError(f"{source} does not exist; name a folder of media or a .csv/.jsonl table")
    chosen = choose_parser(source) if parser == "auto" else parser
    if chosen in ("csv", "jsonl"):
        listing = list_table(source, table_format=chosen)
    else:
        if not source.is_dir():
            raise SourceError(
                f"{source} is a file; parser {chosen!r} reads a folder (tables end in .csv, .jsonl)"
            )
        listing = FOLDER_PARSERS[chosen](source)
    if not listing.items:
        left_out = (*listing.rejects, *listing.skipped)
        first = (
            f"; the first of {len(left_out)} left out: {left_out[0].path}: {left_out[0].reason}"
            if left_out
            else ""
        )
        raise SourceError(
            f"{source} holds nothing to pack with parser {chosen!r}{first}. Media files end in one "
            f"of: {' '.join(sorted(MEDIA_EXTENSIONS))}; choose another --parser if names carry labels"
        )
    return replace(listing, items=with_keys(listing.items))


def choose_parser(source: Path) -> SourceParser:
    """What `auto` stands for: the table's format, `flat`, or `folders`."""
    if source.is_file():
        extension = source.suffix.lower().lstrip(".")
        if extension not in TABLE_EXTENSIONS:
            raise SourceError(
                f"{source} is neither a folder nor a .csv or .jsonl table; "
                "name the folder that the media lies in"
            )
        return "csv" if extension == "csv" else "jsonl"
    return "flat" if any(path.parent == source for path in find_media(source)) else "folders"


def find_media(folder: Path) -> list[Path]:
    """Every file with a media extension below a folder, sorted by path; hidden ones left out."""
    found: list[Path] = []
    seen: set[str] = set()
    for where, folders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(where)
        if real in seen:  # a link back to a folder above
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [Path(where, name) for name in names if is_media_name(name)]
    return sorted(found, key=lambda path: path.relative_to(folder).parts)


def is_media_name(name: str) -> bool:
    """Whether a file name has a media extension and is not hidden (`.x`, macOS's `._x`)."""
    return not name.startswith(".") and name.rpartition(".")[2].lower() in MEDIA_EXTENSIONS


def relative_name(path: Path, folder: Path) -> str:
    """The path from a folder with forward slashes, as text that any JSON reader takes."""
    text = Path(os.path.relpath(path, folder)).as_posix()
    return text.encode("utf-8", "replace").decode()


def key_of(relative: str) -> str:
    """The WebDataset key of a relative path: no extension, only letters, digits, `_`, `-` and `/`.

    A key ends at the first dot, so dots become `_` too. Longer than 80 bytes: cut, plus 8 hex
    digits of a hash of the whole.
    """
    stem = unicodedata.normalize("NFC", relative)
    folder, _, name = stem.rpartition("/")
    name = name.rpartition(".")[0] or name
    parts = [part for part in (*folder.split("/"), name) if part not in ("", ".", "..")]
    key = "/".join("".join(c if c.isalnum() or c in "_-" else "_" for c in p) for p in parts)
    key = key or "_"
    if len(key.encode()) > MAX_KEY_BYTES:
        digest = hashlib.sha256(stem.encode()).hexdigest()[:8]
        kept = key.encode()[: MAX_KEY_BYTES - 9].decode("utf-8", "ignore").rstrip("/")
        key = f"{kept}-{digest}"
    return key


def unique(name: str, taken: set[str]) -> str:
    """The name, or the first of name-2, name-3, ... that is not taken yet; marks it as taken."""
    chosen, number = name, 1
    while chosen in taken:
        number += 1
        chosen = f"{name}-{number}"
    taken.add(chosen)
    return chosen


def with_keys(items: Sequence[SourceItem]) -> tuple[SourceItem, ...]:
    """The items, each with a key of its own."""
    taken: set[str] = set()
    return tuple(replace(item, key=unique(key_of(item.relative), taken)) for item in items)


def sorted_classes(labels: Iterable[str | None]) -> tuple[str, ...]:
    """Class names in order: by value when all are whole numbers, else by text."""
    names = {label for label in labels if label is not None}
    if names and all(name.lstrip("-").isdigit() and name.isascii() for name in names):
        return tuple(sorted(names, key=lambda name: (int(name), name)))
    return tuple(sorted(names))
