"""A folder of audit logs -> stretches: what one process handed out between two beginnings."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from fmrgb_stream.config import TailRule
from fmrgb_stream.errors import DatasetError, StorageError
from fmrgb_stream.shards.audit_log import LOG_VERSION, SourceInfo

if TYPE_CHECKING:
    from numpy.typing import NDArray

    IntArray = NDArray[np.int64]

_DAMAGE: Final = (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError)
"""What values that are not there, or of another kind, lead to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoaderRecord:
    """Who wrote a log, and what it was to read."""

    file: str
    rank: int
    world_size: int
    batch_size: int
    seed: int
    tail: TailRule
    order: str
    """Fingerprint of the order."""
    is_mixture: bool
    sources: tuple[SourceInfo, ...]

    @property
    def num_clips(self) -> int:
        """Of an epoch, over all ranks."""
        return sum(source.clips_per_epoch for source in self.sources)

    @property
    def global_batch_size(self) -> int:
        """Clips a step, over all ranks."""
        return self.batch_size * self.world_size


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivered:
    """Clips that were handed out; columns [N]."""

    places: IntArray
    """In their epoch, over all ranks."""
    sources: IntArray
    passes: IntArray
    samples: IntArray
    windows: IntArray
    is_padding: NDArray[np.bool_]
    substitutes: tuple[tuple[int, str], ...]
    """(row, key of the sample that stands in)."""

    def __len__(self) -> int:
        """N."""
        return len(self.places)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """One iteration of one loader, as far as it came."""

    loader: LoaderRecord
    epoch: int
    position: int
    """Where all ranks began."""
    is_loaded: bool
    """The place came from a saved state."""
    began_at: float
    """Seconds since 1970."""
    ended_at: float
    """When the last batch was handed out."""
    delivered: Delivered


def read_logs(folder: str | Path) -> list[Stretch]:
    """All stretches of all logs of a folder, each file's in its order.

    Raises:
        StorageError: there is no such folder, no log in it, or one cannot be read.
        DatasetError: a file is no audit log, or of another version.
    """
    files = sorted(Path(folder).expanduser().glob("rank-*.jsonl"))
    if not files:
        raise StorageError(
            "no audit logs here; build_loader(audit_log=FOLDER) writes them", url=str(folder)
        )
    return [stretch for file in files for stretch in _read(file)]


def _read(file: Path) -> list[Stretch]:
    try:
        return list(_stretches(file))
    except _DAMAGE as error:
        raise DatasetError(
            f"{file} is damaged: {error!r}; take it from a backup, or move it away, and what it "
            "tells of shows as missing"
        ) from error


def _stretches(file: Path) -> Iterator[Stretch]:
    lines = list(_lines(file))
    if not lines:
        return  # killed before its first line was out
    loader = _loader(lines[0], file)
    begin, batches = None, list[dict[str, Any]]()
    for line in [*lines[1:], {"what": "epoch"}]:
        if line.get("what") == "batch":
            batches.append(line)
            continue
        if begin is not None:
            yield _stretch(loader, begin, batches)
        begin, batches = line, []


def _lines(file: Path) -> Iterator[dict[str, Any]]:
    """The whole lines; one that a killed process left cut off was not delivered either."""
    try:
        content = file.read_text(encoding="utf-8")
    except OSError as error:
        raise StorageError(error.strerror or str(error), url=str(file)) from error
    for number, text in enumerate(content.split("\n")[:-1], start=1):
        try:
            line = json.loads(text)
            if not isinstance(line, dict):
                raise ValueError("not an object")
        except ValueError as error:
            raise DatasetError(f"{file}, line {number}: {error}; this is no audit log") from error
        yield line


def _loader(line: dict[str, Any], file: Path) -> LoaderRecord:
    version = line.get("version")
    if line.get("what") != "loader" or version != LOG_VERSION:
        raise DatasetError(
            f"{file} is an audit log of version {version!r}; this release reads {LOG_VERSION}. Take "
            "the release that wrote it, or move the file away"
        )
    names = ("rank", "world_size", "batch_size", "seed", "tail", "order", "is_mixture")
    sources = tuple(SourceInfo(**source) for source in line["sources"])
    counts = [line[name] for name in names[:4]]
    counts += [n for one in sources for n in (one.num_samples, one.num_clips, one.clips_per_epoch)]
    if not sources or not all(isinstance(count, int) for count in counts):
        raise ValueError("its first line names no sources, or counts that are none")
    return LoaderRecord(file=str(file), sources=sources, **{name: line[name] for name in names})


def _stretch(
    loader: LoaderRecord, begin: dict[str, Any], batches: Sequence[dict[str, Any]]
) -> Stretch:
    return Stretch(
        loader=loader,
        epoch=int(begin["epoch"]),
        position=int(begin["position"]),
        is_loaded=bool(begin["is_loaded"]),
        began_at=float(begin["time"]),
        ended_at=float(batches[-1]["time"] if batches else begin["time"]),
        delivered=_delivered(batches),
    )


def _delivered(batches: Sequence[dict[str, Any]]) -> Delivered:
    sizes = [len(batch["samples"]) for batch in batches]
    firsts = np.cumsum([0, *sizes])

    def column(name: str) -> IntArray:
        parts = (batch.get(name) or [0] * size for batch, size in zip(batches, sizes, strict=True))
        return _joined(parts)

    is_padding = np.zeros(firsts[-1], np.bool_)
    substitutes: list[tuple[int, str]] = []
    for first, batch in zip(firsts.tolist(), batches, strict=False):
        is_padding[[first + at for at in batch["padding"]]] = True
        substitutes += [(first + int(at), key) for at, key in batch["substitutes"].items()]
    return Delivered(
        places=_joined(
            range(batch["position"], batch["position"] + size)
            for batch, size in zip(batches, sizes, strict=True)
        ),
        sources=column("sources"),
        passes=column("passes"),
        samples=column("samples"),
        windows=column("windows"),
        is_padding=is_padding,
        substitutes=tuple(substitutes),
    )


def _joined(parts: Iterable[Sequence[int]]) -> IntArray:
    return np.fromiter((value for part in parts for value in part), dtype=np.int64)
