"""Delivered batches -> what is counted of them, by dataset, and logged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from fmrgb_stream.clips.dataset import OpenDataset
from fmrgb_stream.config import LoaderConfig
from fmrgb_stream.distributed import WorldInfo
from fmrgb_stream.sample import ClipBatch
from fmrgb_stream.shards.audit_log import AuditLog, SourceInfo
from fmrgb_stream.shards.position import EpochPlace


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceCounts:
    """What this process has delivered of one dataset."""

    num_delivered: int = 0
    """Clips, padding not among them."""
    num_substitutes: int = 0
    num_passes: int = 0
    """How often it was gone through before the pass that the latest clip is of."""


class Deliveries:
    """Counts what is handed out, and writes it to the audit log where there is one."""

    def __init__(self, sources: Sequence[SourceInfo], log: AuditLog | None = None) -> None:
        """Start at nothing."""
        self._sources = tuple(sources)
        self._counts = [SourceCounts() for _ in sources]
        self._log = log

    @classmethod
    def of(cls, dataset: OpenDataset, *, config: LoaderConfig, world: WorldInfo) -> Deliveries:
        """Those of a loader, with the log that its settings ask for.

        Raises:
            StorageError: the log cannot be written.
        """
        log = None
        if config.audit_log is not None:
            log = AuditLog(
                config.audit_log,
                dataset.sources,
                order=dataset.fingerprint,
                is_mixture=dataset.is_mixture,
                config=config,
                world=world,
            )
        return cls(dataset.sources, log)

    def began(self, place: EpochPlace, *, is_loaded: bool) -> None:
        """An iteration begins."""
        if self._log is not None:
            self._log.began(place, is_loaded=is_loaded)

    def delivered(self, place: EpochPlace, batch: ClipBatch) -> None:
        """A batch is handed out; `place` is that of its global batch."""
        if self._log is not None:
            self._log.delivered(place, batch)
        assert batch.source_ids is not None, "pipelines give it"
        assert batch.source_passes is not None, "pipelines give it"
        columns = (batch.source_ids, batch.source_passes, batch.is_padding, batch.is_substitute)
        for source, passes, is_padding, is_substitute in zip(
            *(column.tolist() for column in columns), strict=True
        ):
            if not is_padding:
                counts = self._counts[source]
                self._counts[source] = SourceCounts(
                    num_delivered=counts.num_delivered + 1,
                    num_substitutes=counts.num_substitutes + is_substitute,
                    num_passes=passes,
                )

    def by_source(self) -> list[dict[str, str | int]]:
        """Sources and their counts, as plain values."""
        return [
            asdict(source) | asdict(counts)
            for source, counts in zip(self._sources, self._counts, strict=True)
        ]

    def close(self) -> None:
        """Close the log. Safe to call twice."""
        if self._log is not None:
            self._log.close()
