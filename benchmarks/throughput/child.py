"""One job in a process of its own: who is it, are its clips right, how fast is it this time.

The harness starts it as `python -m benchmarks.throughput.child JOB RESULT`, two JSON files. Nothing
heavy is imported here, so that memory and start-up are the contestant's.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Literal, cast

from benchmarks.throughput.contract import BenchBatch, BenchClip, BenchData, Contestant
from benchmarks.throughput.process_tree import tree_cpu_seconds, tree_usage
from benchmarks.throughput.results import Role, Round

_LOOKS: Final = 4
_CHECK_SECONDS: Final = 10.0
"""At memory, after the window, with batches taken in between."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """When a measurement begins and ends."""

    warmup_clips: int = 96
    """Before the clock; fewer if that takes longer than `max_seconds`."""
    min_clips: int = 64
    min_seconds: float = 3.0
    max_seconds: float = 20.0
    """Slow contestants stop here, whatever `min_clips` says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What a child has to do."""

    task: Literal["check", "measure"]
    module: str
    """Whose contestant."""
    attribute: str
    """Its name in the module."""
    role: Role
    data: BenchData
    clip: BenchClip
    num_workers: int
    reference: Path | None = None
    """`check`: the folder of the reference clips; None checks nothing."""
    window: Window = Window()

    def to_json(self) -> str:
        """As the child reads it."""
        return json.dumps(asdict(self), default=str)

    @classmethod
    def from_json(cls, text: str) -> Job:
        """The opposite of `to_json`."""
        fields: dict[str, Any] = json.loads(text)
        data, clip = fields["data"], fields["clip"]
        for name in ("sources", "packed", "derived"):
            data[name] = Path(data[name])
        fields["data"] = BenchData(**data)
        clip["size"] = tuple(clip["size"])
        fields["clip"] = BenchClip(**clip)
        fields["window"] = Window(**fields["window"])
        fields["reference"] = fields["reference"] and Path(fields["reference"])
        return cls(**fields)


def measure(contestant: Contestant, job: Job, *, import_seconds: float) -> Round:
    """Start, warm up, take batches under the clock, then look at the memory."""
    root, window = os.getpid(), job.window
    begin = time.perf_counter()
    batches = contestant.batches(job.data, job.clip, num_workers=job.num_workers)
    taken = _count(batches, job.clip)
    try:
        warm = next(taken)
        first_batch_seconds = time.perf_counter() - begin
        while warm < window.warmup_clips and time.perf_counter() - begin < window.max_seconds:
            warm += next(taken)
        cpu_start, start = tree_cpu_seconds(root), time.perf_counter()
        num_clips, seconds = 0, 0.0
        while not _is_enough(window, num_clips, seconds):
            num_clips += next(taken)
            seconds = time.perf_counter() - start
        cpu_seconds = tree_cpu_seconds(root) - cpu_start
        looks = [tree_usage(root)]
        for _ in range(_LOOKS - 1):
            _ = next(taken), next(taken)
            looks.append(tree_usage(root))
    finally:
        _close(batches)
    return Round(
        clips_per_second=num_clips / seconds,
        cpu_ms_per_clip=cpu_seconds * 1e3 / num_clips,
        peak_pss_mib=max(look.pss_mib for look in looks),
        import_seconds=import_seconds,
        first_batch_seconds=first_batch_seconds,
        num_clips=num_clips,
        window_seconds=seconds,
        num_processes=max(look.num_processes for look in looks),
        num_threads=max(look.num_threads for look in looks),
    )


def _is_enough(window: Window, num_clips: int, seconds: float) -> bool:
    is_long = seconds >= window.min_seconds and num_clips >= window.min_clips
    return is_long or (seconds >= window.max_seconds and num_clips > 0)


def _count(batches: Iterator[BenchBatch], clip: BenchClip) -> Iterator[int]:
    """Clips in each batch; a batch of the wrong form ends the measurement."""
    form = (clip.num_planes, clip.num_frames, *clip.size)
    for batch in batches:
        found = batch.clip_BCTHW
        if found.shape[1:] != form or found.dtype != "uint8" or len(found) != len(batch.keys):
            raise ValueError(f"a batch is {found.dtype} {found.shape}, each clip must be {form}")
        yield len(batch.keys)
    raise ValueError("the contestant ran out of batches; they must come without end")


def _check(contestant: Contestant, job: Job) -> dict[str, Any]:
    """Who it is, and its content; that is None for one that shows no samples."""
    from benchmarks.throughput.content import compare

    introduced = {"name": contestant.name, "reads": contestant.reads, "content": None}
    contestant.prepare(job.data)
    if job.reference is None:
        return introduced
    batches = contestant.batches(job.data, job.clip, num_workers=job.num_workers)
    try:
        content = compare(_some_epochs(batches, job), job.reference, job.clip, role=job.role)
    finally:
        _close(batches)
    return {**introduced, "content": asdict(content)}


def _some_epochs(batches: Iterator[BenchBatch], job: Job) -> Iterator[BenchBatch]:
    """Four epochs, and no less than some seconds.

    Processes of one contestant may run apart, so a sample can come often before another comes.
    """
    least = 4 * (job.data.num_samples // job.clip.batch_size + 1)
    end = time.perf_counter() + _CHECK_SECONDS
    for count, batch in enumerate(batches):
        if count >= least and time.perf_counter() > end:
            return
        yield batch


def _close(batches: Iterator[BenchBatch]) -> None:
    with contextlib.suppress(AttributeError):
        batches.close()  # pyright: ignore[reportAttributeAccessIssue] - generators have it


def main() -> None:
    """Do the job; its result or its failure is the result file."""
    job_path, result_path = (Path(argument) for argument in sys.argv[1:])
    job = Job.from_json(job_path.read_text(encoding="utf-8"))
    begin = time.perf_counter()
    found: dict[str, Any]
    try:
        contestant = cast(Contestant, getattr(importlib.import_module(job.module), job.attribute))
        import_seconds = time.perf_counter() - begin
        if job.task == "check":
            found = {"result": _check(contestant, job)}
        else:
            found = {"result": asdict(measure(contestant, job, import_seconds=import_seconds))}
    except ModuleNotFoundError as error:
        found = {"failure": f"{error.name} is not installed; it comes with the extra `bench`"}
    except Exception as error:  # noqa: BLE001 - the process's edge: a failure is a table's line
        found = {"failure": f"{type(error).__name__}: {error}"}
        sys.excepthook(type(error), error, error.__traceback__)
    result_path.write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main()
