"""Training steps -> one live line, and a line an epoch with where its time went."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from fmrgb_stream.training.records import EpochRecord, StepProfile


def epoch_lines(record: EpochRecord, *, num_epochs: int) -> list[str]:
    """What an epoch came to, and the step profile of every process."""
    head = (
        f"epoch {record.epoch + 1}/{num_epochs}  train loss {record.train_loss:.4f}  "
        f"val loss {record.val.loss:.4f}  val {record.val.score_name} {record.val.score:.3f}  "
        f"{record.clips_per_second:.1f} clips/s  {record.seconds:.1f} s"
    )
    return [head, *(f"  {profile_line(profile)}" for profile in record.profiles)]


def profile_line(profile: StepProfile) -> str:
    """Where the training time of one process went."""
    stages = {
        "data wait": profile.wait_seconds,
        "to device": profile.to_device_seconds,
        "forward": profile.forward_seconds,
        "backward": profile.backward_seconds,
        "optimiser": profile.optimiser_seconds,
    }
    whole = profile.seconds or 1.0
    shares = "  ".join(f"{name} {seconds / whole:.1%}" for name, seconds in stages.items())
    return f"rank {profile.rank}: {profile.clips_per_second:.1f} clips/s  {shares}"


class TrainingBar:
    """A rich progress bar over all steps of a run; silent without a console."""

    def __init__(self, console: Console | None, *, label: str, num_steps: int) -> None:
        """Nothing is shown before `with`."""
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[numbers]}"),
            console=console,
            transient=True,
            disable=console is None or not console.is_terminal,
        )
        self._task = self._progress.add_task(label, total=num_steps, numbers="")

    def advance(self, steps: int = 1) -> None:
        """So many steps are done."""
        self._progress.advance(self._task, steps)

    def show(self, *, epoch: int, loss: float) -> None:
        """The newest numbers."""
        self._progress.update(self._task, numbers=f"epoch {epoch + 1}  loss {loss:.3f}")

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
