"""Variant + entrants -> entries: content check, choice of workers, interleaved rounds.

Every look at a contestant is a process of its own, so none inherits another's memory, threads or
caches. A round measures each contestant once; every other round runs backwards, so that a machine
that slows down hurts all alike, and ratios are taken inside a round.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Protocol

from benchmarks.throughput.child import Job, Window
from benchmarks.throughput.contract import BenchClip, BenchData
from benchmarks.throughput.entrants import WORKERS_TO_TRY, Entrant
from benchmarks.throughput.reference import make_references
from benchmarks.throughput.results import Content, Entry, Form, Round, Variant
from benchmarks.throughput.run_child import Outcome, run_child
from fmrgb_stream.distributed import usable_cores

_CHECK_WORKERS: Final = 2
_MEASURE_TIMEOUT_SECONDS: Final = 240.0
_CHECK_TIMEOUT_SECONDS: Final = 1800.0
"""Preparing may mean encoding the whole corpus anew."""


TRIAL: Final = Window(warmup_clips=24, min_clips=24, min_seconds=1.0, max_seconds=8.0)


class Progress(Protocol):
    """Where the harness tells what it does."""

    def begin(self, stage: str, total: int) -> None:
        """A stage of so many steps begins."""
        ...

    def step(self, what: str) -> None:
        """The next step begins, and is `what`."""
        ...

    def tell(self, what: str, done: int, total: int) -> None:
        """Something inside a step takes long: so many of its pieces are done."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How thorough to be."""

    rounds: int = 5
    window: Window = field(default_factory=Window)
    trial: Window = field(default_factory=lambda: TRIAL)
    """The window of the pre-round that chooses the number of workers."""
    workers_to_try: tuple[int, ...] = WORKERS_TO_TRY


@dataclass(slots=True, kw_only=True)
class Memory:
    """What is found out once and holds for more than one variant."""

    workers: dict[tuple[str, str, Form], tuple[tuple[int, float], ...]] = field(
        default_factory=dict[tuple[str, str, Form], "tuple[tuple[int, float], ...]"]
    )
    """(label, corpus, form) -> the trials."""


def run_variant(
    entrants: Sequence[Entrant],
    data: BenchData,
    clip: BenchClip,
    *,
    form: Form,
    plan: Plan,
    memory: Memory,
    progress: Progress,
) -> Variant:
    """Check, tune and time everybody who has a place in this variant."""
    entries: dict[Entrant, Entry] = {}
    present = [entrant for entrant in entrants if entrant.takes_part(form)]
    progress.begin(f"{clip.planes}, {form}: content", len(present))
    for entrant in present:
        progress.step(entrant.label)
        entries[entrant] = _admitted(entrant, data, clip, progress=progress)
    ready = [entrant for entrant in entries if not entries[entrant].failure]
    progress.begin(f"{clip.planes}, {form}: workers", len(ready))
    for entrant in ready:
        progress.step(entrant.label)
        entries[entrant] = _tuned(entrant, entries[entrant], data, clip, form, plan, memory)
    progress.begin(f"{clip.planes}, {form}: rounds", plan.rounds * len(ready))
    for number in range(plan.rounds):
        for entrant in ready[:: -1 if number % 2 else 1]:
            progress.step(f"round {number + 1}: {entrant.label}")
            entry = entries[entrant]
            job = _job(entrant, data, clip, entry.num_workers)
            outcome = _measured(replace(job, window=plan.window))
            entries[entrant] = replace(
                entry,
                rounds=(*entry.rounds, Round(**outcome.result) if outcome.result else None),
                failure=entry.failure or outcome.failure,
            )
    return Variant(
        corpus=data.name,
        form=form,
        planes=clip.planes,
        num_samples=data.num_samples,
        entries=tuple(entries.values()),
    )


def _job(entrant: Entrant, data: BenchData, clip: BenchClip, num_workers: int) -> Job:
    return Job(
        task="measure",
        module=entrant.module,
        attribute=entrant.attribute,
        role=entrant.role,
        data=data,
        clip=clip,
        num_workers=num_workers,
    )


def _admitted(entrant: Entrant, data: BenchData, clip: BenchClip, *, progress: Progress) -> Entry:
    """The entrant's entry, with its failure if it has one."""
    reference = None
    if entrant.checked_attribute:
        reference = make_references(data, clip, form=entrant.form, told=progress.tell)
    job = replace(
        _job(entrant, data, clip, _CHECK_WORKERS),
        task="check",
        attribute=entrant.checked_attribute or entrant.attribute,
        reference=reference,
    )
    outcome = run_child(job, timeout_seconds=_CHECK_TIMEOUT_SECONDS)
    entry = Entry(label=entrant.label, name=entrant.label, role=entrant.role)
    if outcome.failure:
        return replace(entry, failure=outcome.failure)
    found = outcome.result
    entry = replace(entry, name=str(found["name"]), reads=str(found["reads"]))
    if found["content"] is None:
        return entry
    content = Content(**found["content"])
    return replace(entry, content=content, failure=content.problem)


def _tuned(
    entrant: Entrant,
    entry: Entry,
    data: BenchData,
    clip: BenchClip,
    form: Form,
    plan: Plan,
    memory: Memory,
) -> Entry:
    """The entry with its number of workers: the one that was fastest in a short trial."""
    if not entrant.chooses_workers:
        return replace(entry, num_workers=usable_cores())
    place = (entrant.label, data.name, form)
    if place not in memory.workers:
        trials: list[tuple[int, float]] = []
        for num_workers in plan.workers_to_try:
            job = replace(_job(entrant, data, clip, num_workers), window=plan.trial)
            outcome = _measured(job)
            if outcome.result:
                trials.append((num_workers, float(outcome.result["clips_per_second"])))
        memory.workers[place] = tuple(trials)
    tried = memory.workers[place]
    best = max(tried, key=lambda trial: trial[1], default=(_CHECK_WORKERS, 0.0))
    return replace(entry, num_workers=best[0], workers_tried=tried)


def _measured(job: Job) -> Outcome:
    return run_child(job, timeout_seconds=_MEASURE_TIMEOUT_SECONDS)
