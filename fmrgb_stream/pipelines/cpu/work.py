"""One task -> one clip in its place of the batch, with a neighbour in place of a bad sample."""

from __future__ import annotations

import time

from fmrgb_stream.pipelines.counters import StageClock
from fmrgb_stream.pipelines.cpu.clip import ClipMaker
from fmrgb_stream.pipelines.cpu.layout import ClipArrays
from fmrgb_stream.pipelines.cpu.order import WorkOrder
from fmrgb_stream.pipelines.cpu.results import FailedClip, MadeClip
from fmrgb_stream.pipelines.quarantine import BadSample
from fmrgb_stream.pipelines.substitutes import (
    BAD_SAMPLE_ERRORS,
    MAX_NEIGHBOURS,
    all_neighbours_bad,
)
from fmrgb_stream.sample import ClipTask


class ClipWorker:
    """Makes clips one at a time; belongs to one thread. It counts nothing and remembers nothing."""

    def __init__(self, order: WorkOrder) -> None:
        """Load what the order needs; nothing is read yet."""
        self._order = order
        self._clock = StageClock()
        self._rested_since = time.perf_counter()
        self._maker = ClipMaker(
            order.clip,
            estimator=order.estimator,
            video_decoder=order.video_decoder,
            span=order.span,
            clock=self._clock,
        )

    def make(self, task: ClipTask, arrays: ClipArrays) -> MadeClip | FailedClip:
        """Write every value of the task's clip into `arrays`."""
        bad_samples: list[BadSample] = []
        self._clock.add("idle", time.perf_counter() - self._rested_since)
        try:
            return self._make(task, arrays, bad_samples)
        except Exception as error:  # noqa: BLE001 - the edge of a worker: the consumer raises it
            return FailedClip(error=error, bad_samples=tuple(bad_samples))
        finally:
            self._rested_since = time.perf_counter()

    def _make(self, task: ClipTask, arrays: ClipArrays, bad_samples: list[BadSample]) -> MadeClip:
        source, last_error = self._order.source, None
        for attempt in range(MAX_NEIGHBOURS + 1):
            chosen = task if attempt == 0 else source.neighbour(task, attempt)
            try:
                return self._make_chosen(chosen, arrays, bad_samples, is_substitute=attempt > 0)
            except BAD_SAMPLE_ERRORS as error:
                if not self._order.substitutes:
                    raise
                shard, key = source.describe(chosen)
                bad_samples.append(BadSample(shard=shard, key=key, reason=str(error)))
                last_error = error
        raise all_neighbours_bad(task, last_error)

    def _make_chosen(
        self,
        task: ClipTask,
        arrays: ClipArrays,
        bad_samples: list[BadSample],
        *,
        is_substitute: bool,
    ) -> MadeClip:
        with self._clock.timed("read"):
            planned = self._order.source.fetch(task)
        self._maker.make(planned, arrays)
        info, plan = planned.sample.info, planned.plan
        arrays.times_seconds_T[...] = plan.times_seconds
        return MadeClip(
            key=info.key,
            label=info.label,
            targets=info.targets,
            num_valid_frames=plan.num_valid_frames,
            is_substitute=is_substitute,
            bad_samples=tuple(bad_samples),
            seconds=self._clock.take(),
        )
