"""Source items -> probed inputs and rejects, many at once, remembered for the next run."""

from __future__ import annotations

import hashlib
import logging
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fmrgb_stream.clips.probe import probe
from fmrgb_stream.config import PackConfig
from fmrgb_stream.errors import RejectedInput
from fmrgb_stream.packing.plan import ProbedInput
from fmrgb_stream.packing.pools import JobPool
from fmrgb_stream.packing.probe_cache import ProbeCache, ProbeResult
from fmrgb_stream.packing.progress import Progress
from fmrgb_stream.packing.sources import Reject, SourceItem
from fmrgb_stream.packing.trouble import chain, machine_trouble

logger = logging.getLogger(__name__)

STAGE: Final = "probe"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeJob:
    """One file to look at."""

    path: Path
    max_pixels: int
    max_duration_seconds: float


def probe_file(job: ProbeJob) -> ProbeResult:
    """Hash and probe one file; runs in a packing process.

    Raises:
        PackError: the machine failed, which says nothing of the file.
    """
    sha256 = ""
    try:
        if not stat.S_ISREG(job.path.stat().st_mode):
            # Opening a pipe would wait for a writer for ever, and a device never ends.
            raise RejectedInput("not a regular file, but a pipe, a socket or a device")
        with job.path.open("rb") as stream:
            sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
        found = probe(
            job.path, max_pixels=job.max_pixels, max_duration_seconds=job.max_duration_seconds
        )
    except Exception as error:  # a hostile file must not stop the others
        trouble = machine_trouble(error, job.path)
        if trouble is not None:
            raise trouble from error
        return ProbeResult(
            sha256=sha256,
            probe=None,
            reason=_reason(error, job.path),
            is_lasting=not any(isinstance(link, OSError) for link in chain(error)),
        )
    return ProbeResult(sha256=sha256, probe=found, reason="")


def _reason(error: Exception, path: Path) -> str:
    if isinstance(error, RejectedInput):
        return error.reason
    if isinstance(error, OSError):
        return f"cannot be read: {error.strerror}"
    logger.debug("probing %s failed", path, exc_info=error)
    return f"probing failed: {error!r}"


def probe_inputs(
    items: Sequence[SourceItem],
    *,
    config: PackConfig,
    pool: JobPool,
    cache_path: Path,
    progress: Progress,
) -> tuple[list[ProbedInput], list[Reject]]:
    """Probe every file once, however many items name it. Results keep the order of the items."""
    paths = list(dict.fromkeys(item.path for item in items))
    cache = ProbeCache(cache_path, config)
    known = {path: found for path in paths if (found := cache.get(path)) is not None}
    progress.start(STAGE, total=len(paths), kept=len(known))
    missing = [path for path in paths if path not in known]
    jobs = [
        ProbeJob(
            path=path,
            max_pixels=config.max_pixels,
            max_duration_seconds=config.max_duration_seconds,
        )
        for path in missing
    ]
    with cache:
        results = pool.in_order(probe_file, jobs, name_of=lambda job: job.path.name)
        for path, result in zip(missing, results, strict=True):
            known[path] = result
            if result.is_lasting:
                cache.put(path, result)
            progress.advance(STAGE)
    inputs: list[ProbedInput] = []
    rejects: list[Reject] = []
    for item in items:
        result = known[item.path]
        if result.probe is None:
            rejects.append(Reject(path=item.relative, reason=result.reason, stage="probe"))
        else:
            inputs.append(ProbedInput(item=item, probe=result.probe, sha256=result.sha256))
    return inputs, rejects
