"""Marks between the stages of training steps -> seconds of each stage, without waiting for a GPU."""

from __future__ import annotations

import time
from typing import Final, Literal

import torch

from fmrgb_stream.training.records import StepProfile

Stage = Literal["wait", "to_device", "forward", "backward", "optimiser", "other"]
STAGES: Final[tuple[Stage, ...]] = (
    "wait",
    "to_device",
    "forward",
    "backward",
    "optimiser",
    "other",
)


class StageClock:
    """Adds up the time from mark to mark.

    On a GPU the marks are events in its own queue: they say when the device came by, and so what it
    spent on a stage, and how long it had nothing to do before a batch came. They are read when
    `settle` is called, which waits for the device; on the CPU nothing has to wait.
    """

    def __init__(self, device: torch.device) -> None:
        """Nothing is measured before `begin`."""
        self._is_cuda = device.type == "cuda"
        self._seconds: dict[Stage, float] = dict.fromkeys(STAGES, 0.0)
        self._last_seconds = 0.0
        self._events: list[tuple[Stage | None, torch.cuda.Event]] = []

    def reset(self) -> None:
        """Forget what was measured."""
        self._seconds = dict.fromkeys(STAGES, 0.0)
        self._events.clear()

    def begin(self) -> None:
        """Start, or go on after a pause that is not to be counted."""
        if self._is_cuda:
            self._events.append((None, self._event()))
        else:
            self._last_seconds = time.perf_counter()

    def mark(self, stage: Stage) -> None:
        """This stage ends here."""
        if self._is_cuda:
            self._events.append((stage, self._event()))
            return
        now = time.perf_counter()
        self._seconds[stage] += now - self._last_seconds
        self._last_seconds = now

    def settle(self) -> None:
        """Read all events so far; waits until the device has come by the last one."""
        if not self._events:
            return
        before = self._events[0][1]
        self._events[-1][1].synchronize()
        for stage, event in self._events[1:]:
            if stage is not None:
                self._seconds[stage] += before.elapsed_time(event) / 1000
            before = event
        self._events = [(None, before)]

    def profile(self, *, rank: int, num_clips: int) -> StepProfile:
        """What was measured, waiting for the device."""
        self.settle()
        seconds = self._seconds
        return StepProfile(
            rank=rank,
            num_clips=num_clips,
            seconds=sum(seconds.values()),
            wait_seconds=seconds["wait"],
            to_device_seconds=seconds["to_device"],
            forward_seconds=seconds["forward"],
            backward_seconds=seconds["backward"],
            optimiser_seconds=seconds["optimiser"],
        )

    def _event(self) -> torch.cuda.Event:
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event
