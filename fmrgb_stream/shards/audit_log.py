"""Delivered batches -> a log of clip ids, one file a process, for `fmrgb audit`.

Lines are JSON objects; `what` says which kind:

- `loader`, the first one: who writes, and what it reads in which order;
- `epoch`: an iteration begins, where, and whether that place came from a saved state;
- `batch`: the clips handed out, in the order of the batch, `position` being the place of the first.

A line is written with one system call when its batch is handed out, so a killed process leaves all
that it delivered, and at most the last line is cut off. Each loader writes a file of its own; a
folder may hold those of many restarts, ranks and splits.
"""

from __future__ import annotations

import json
import os
import secrets
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit, urlunsplit

from fmrgb_stream.config import LoaderConfig
from fmrgb_stream.distributed import WorldInfo
from fmrgb_stream.errors import StorageError
from fmrgb_stream.shards.position import EpochPlace

if TYPE_CHECKING:
    from fmrgb_stream.sample import ClipBatch

LOG_VERSION: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceInfo:
    """One dataset that a loader reads."""

    url: str
    split: str
    fingerprint: str
    """Changes with the split's shards."""
    num_samples: int
    num_clips: int
    """Samples, or all their sliding windows."""
    clips_per_epoch: int
    """What it gives to an epoch; less than `num_clips` is part of a pass, more is several."""
    endpoint: str | None = None
    region: str | None = None
    anonymous: bool = False
    """How the URL's server is asked; no secrets."""


class AuditLog:
    """The log of one loader. Belongs to the thread that iterates."""

    def __init__(
        self,
        folder: str,
        sources: Sequence[SourceInfo],
        *,
        order: str,
        is_mixture: bool,
        config: LoaderConfig,
        world: WorldInfo,
    ) -> None:
        """Begin a file.

        Args:
            folder: is made if it is not there.
            sources: what the loader reads.
            order: fingerprint of the order.
            is_mixture: whether epochs of the order follow on from each other.
            config: how it is ordered.
            world: this process among others.

        Raises:
            StorageError: the folder cannot be written to.
        """
        self._rank, self._batch_size = world.rank, config.batch_size
        name = (
            f"rank-{world.rank:05d}-{time.strftime('%Y%m%dT%H%M%S')}-{secrets.token_hex(4)}.jsonl"
        )
        self._path = Path(folder).expanduser() / name
        self._descriptor = -1
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
            self._descriptor = os.open(self._path, flags, 0o666)
        except OSError as error:
            raise self._cannot_write(error) from error
        self._write(
            "loader",
            version=LOG_VERSION,
            rank=world.rank,
            world_size=world.world_size,
            batch_size=config.batch_size,
            seed=config.seed,
            tail=config.tail,
            order=order,
            is_mixture=is_mixture,
            sources=[asdict(source) | {"url": _location(source.url)} for source in sources],
        )

    def began(self, place: EpochPlace, *, is_loaded: bool) -> None:
        """An iteration begins."""
        self._write("epoch", **asdict(place), is_loaded=is_loaded)

    def delivered(self, place: EpochPlace, batch: ClipBatch) -> None:
        """A batch of the iteration is handed out; `place` is that of its global batch."""
        columns = {"windows": batch.window_indices, "sources": batch.source_ids}
        listed = {name: column.tolist() for name, column in columns.items() if column is not None}
        is_substitute = batch.is_substitute.tolist()
        self._write(
            "batch",
            epoch=place.epoch,
            position=place.position + self._rank * self._batch_size,
            samples=batch.sample_ids.tolist(),
            passes=None if batch.source_passes is None else batch.source_passes.tolist(),
            padding=[at for at, flag in enumerate(batch.is_padding.tolist()) if flag],
            substitutes={at: batch.keys[at] for at, flag in enumerate(is_substitute) if flag},
            **{name: values for name, values in listed.items() if any(values)},
        )

    def close(self) -> None:
        """Close the file. Safe to call twice."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __del__(self) -> None:
        """Close."""
        self.close()

    def _write(self, what: str, **values: Any) -> None:
        line = json.dumps({"what": what, "time": round(time.time(), 3), **values}) + "\n"
        rest = line.encode()
        try:
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
        except OSError as error:
            raise self._cannot_write(error) from error

    def _cannot_write(self, error: OSError) -> StorageError:
        return StorageError(
            f"the audit log cannot be written: {error.strerror}; make room, or choose another "
            "audit_log folder or none",
            url=str(self._path),
        )


def _location(url: str) -> str:
    """Where a dataset can be found from any folder; without what an address may hold of secrets."""
    if "://" not in url:
        return str(Path(url).expanduser().absolute())
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
