"""PackConfig -> who does the work: processes of this machine, or tasks of a Ray cluster."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol, TypeVar

from fmrgb_stream.config import PackConfig
from fmrgb_stream.distributed import usable_cores
from fmrgb_stream.packing.workers import WorkerPool

Job = TypeVar("Job")
Result = TypeVar("Result")


class JobPool(Protocol):
    """Runs one function over many jobs, a bounded way ahead of who takes the results."""

    def in_order(
        self,
        function: Callable[[Job], Result],
        jobs: Iterable[Job],
        *,
        name_of: Callable[[Job], str],
    ) -> Generator[Result]:
        """The results, in the order of the jobs (see `WorkerPool.in_order`)."""
        ...


def open_pool(
    config: PackConfig, *, source: Path, destination: Path
) -> AbstractContextManager[JobPool]:
    """The pool that the settings ask for; it ends with the context.

    Raises:
        MissingExtraError: Ray is asked for and not installed.
        PackError: the Ray cluster cannot be reached.
    """
    if config.executor == "ray":
        from fmrgb_stream.packing.ray_pool import RayPool, shared_paths

        paths = shared_paths(source, destination)
        return RayPool(config.address, num_workers=config.num_workers, paths=paths)
    return WorkerPool(config.num_workers or usable_cores())
