"""Training steps -> one live line: epoch, loss, clips/s, share of time waiting for data."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from torch import Tensor

from fmrgb_stream.sample import ClipBatch

_SECONDS_BETWEEN_UPDATES = 0.5


class EpochMeter:
    """Counts clips and waiting of one epoch. Reads the loss from the device twice a second only."""

    def __init__(self, bar: TrainingBar, *, epoch: int, num_processes: int) -> None:
        """Start the clock."""
        self._bar = bar
        self._epoch = epoch
        self._num_processes = num_processes
        self._start = self._last_update = time.perf_counter()
        self._wait_seconds = 0.0
        self._num_clips = 0
        self._num_steps = 0
        self._loss_sum: Tensor | None = None

    def timed(self, batches: Iterable[ClipBatch]) -> Iterator[ClipBatch]:
        """The same batches; the time until each one arrives counts as waiting."""
        iterator = iter(batches)
        while True:
            asked = time.perf_counter()
            batch = next(iterator, None)
            self._wait_seconds += time.perf_counter() - asked
            if batch is None:
                return
            yield batch

    def step(self, loss: Tensor, num_clips: int) -> None:
        """Count one step; `loss` stays on its device."""
        loss = loss.detach()
        self._loss_sum = loss if self._loss_sum is None else self._loss_sum + loss
        self._num_clips += num_clips * self._num_processes
        self._num_steps += 1
        now = time.perf_counter()
        if now - self._last_update > _SECONDS_BETWEEN_UPDATES:
            self._last_update = now
            self._bar.show(self, self._epoch, float(loss))
        else:
            self._bar.advance()

    @property
    def num_steps(self) -> int:
        """Steps so far."""
        return self._num_steps

    @property
    def seconds(self) -> float:
        """Since the epoch began."""
        return time.perf_counter() - self._start

    @property
    def clips_per_second(self) -> float:
        """Over all processes."""
        return self._num_clips / self.seconds

    @property
    def wait_share(self) -> float:
        """0..1."""
        return self._wait_seconds / self.seconds

    def mean_loss(self) -> Tensor:
        """Scalar, on the device: mean over this process's steps."""
        if self._loss_sum is None:
            raise AssertionError("no step was taken")
        return self._loss_sum / self._num_steps


class TrainingBar:
    """A rich progress bar over all steps of a run; silent without a console."""

    def __init__(self, console: Console | None, *, label: str, num_steps: int) -> None:
        """Nothing is shown before `with`."""
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[numbers]}"),
            console=console,
            transient=True,
            disable=console is None or not console.is_terminal,
        )
        self._task = self._progress.add_task(label, total=num_steps, numbers="")

    def advance(self) -> None:
        """One step is done."""
        self._progress.advance(self._task)

    def show(self, meter: EpochMeter, epoch: int, loss: float) -> None:
        """One step is done, and these are the numbers."""
        numbers = (
            f"epoch {epoch + 1}  loss {loss:.3f}  {meter.clips_per_second:.0f} clips/s  "
            f"waiting for data {meter.wait_share:.0%}"
        )
        self._progress.update(self._task, advance=1, numbers=numbers)

    def __enter__(self) -> Self:
        """Show the bar."""
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Remove the bar."""
        self._progress.stop()
