"""What was delivered so far -> where the next iteration begins."""

from __future__ import annotations

from dataclasses import replace

from fmrgb_stream.errors import ConfigError
from fmrgb_stream.shards.position import EpochPlace
from fmrgb_stream.shards.tasks import RankTasks


class EpochCursor:
    """A loader's place. It moves with delivered batches only, those in the making do not count."""

    def __init__(self, tasks: RankTasks) -> None:
        """Stand at the first clip of epoch 0."""
        self._tasks = tasks
        self.place = EpochPlace()
        self.is_loaded = False
        """Whether the place comes from a saved state, and nothing was delivered since."""
        self._is_fresh = True
        """Whether nothing was delivered since this place was chosen."""

    def begin(self) -> EpochPlace:
        """What a new iteration plays: the chosen place, this epoch again, or the next one."""
        if not self._is_fresh:
            is_over = self._tasks.steps_from(self.place.position) == 0
            self.place = self._following() if is_over else replace(self.place, position=0)
        return self.place

    def delivered(self, counted: EpochPlace) -> EpochPlace:
        """Count one batch of an iteration that stood at `counted`; where it stands now.

        After `choose` or `load` the place is not that iteration's any more, and stays.
        """
        if self.place != counted:
            return counted
        self.place = counted.moved(self._tasks.global_batch_size)
        self._is_fresh = self.is_loaded = False
        return self.place

    def ended(self, counted: EpochPlace) -> None:
        """The iteration that stood at `counted` has played its epoch to the end."""
        if self.place == counted:
            self._choose(self._following())

    def choose(self, epoch: int) -> None:
        """Go to an epoch's first clip; a chosen or loaded place in that epoch is kept.

        Epochs of a mixture follow on from each other: those after this one begin where it ends, and
        those before it lie back from where it begins.

        Raises:
            ConfigError: the epoch is negative.
        """
        if epoch < 0:
            raise ConfigError(f"epoch {epoch} is negative")
        if epoch == self.place.epoch and self._is_fresh:
            return
        place = replace(self.place, position=0)
        if epoch > place.epoch:
            place = self._following()
            ahead = epoch - place.epoch
            place = EpochPlace(epoch=epoch, start=place.start + ahead * self._clips_between())
        elif epoch < place.epoch:
            back = (place.epoch - epoch) * self._clips_between()
            place = EpochPlace(epoch=epoch, start=max(place.start - back, 0))
        self._choose(place)

    def load(self, place: EpochPlace) -> None:
        """Go to a saved place."""
        self._choose(place)
        self.is_loaded = True

    def _choose(self, place: EpochPlace) -> None:
        self.place, self._is_fresh, self.is_loaded = place, True, False

    def _following(self) -> EpochPlace:
        return self._tasks.after(self.place)

    def _clips_between(self) -> int:
        """From the start of one epoch to that of the next, with this global batch."""
        return self._tasks.after(EpochPlace()).start
