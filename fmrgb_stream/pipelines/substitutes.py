"""What counts as a bad sample, and how often another one is tried in its place."""

from __future__ import annotations

from typing import Final

from fmrgb_stream.errors import (
    DatasetError,
    SampleError,
    ShardNotFound,
    ShardUnreadable,
    TooManyBadSamples,
)
from fmrgb_stream.sample import ClipTask

MAX_NEIGHBOURS: Final = 8
"""Tried in place of a bad sample, one after the other. When all are bad as well the run stops with
TooManyBadSamples, whatever the quarantine would still bear."""
BAD_SAMPLE_ERRORS: Final = (SampleError, DatasetError, ShardNotFound, ShardUnreadable)
"""What a sample's bytes can be guilty of; everything else ends the run. A server that is away, or
credentials that are refused, say nothing of a sample: to stand in for it would break the promise that
every sample comes once, where resuming keeps it."""


def all_neighbours_bad(task: ClipTask, last: Exception | str | None) -> TooManyBadSamples:
    """The error that ends the run when nothing can stand in for a task's sample."""
    return TooManyBadSamples(
        f"sample {task.sample_id} is bad and so are all {MAX_NEIGHBOURS} that were tried in its "
        "place, the next one and others spread over the split; this stops a run whatever "
        f"max_bad_fraction is. The last: {last}. Run `fmrgb verify`"
    )
