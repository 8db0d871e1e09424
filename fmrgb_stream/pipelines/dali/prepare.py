"""One task -> a clip that can be fed, with a neighbour in place of a bad sample."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fmrgb_stream.clips.cut import GopCutter
from fmrgb_stream.errors import DecodeError
from fmrgb_stream.pipelines.base import ClipSource, FrameDecoder, SoundDecoder
from fmrgb_stream.pipelines.counters import Stage, StageClock
from fmrgb_stream.pipelines.dali.feed import FedClip, feed_clip, wanted_frames
from fmrgb_stream.pipelines.dali.host_log import HostLog
from fmrgb_stream.pipelines.dali.precheck import why_not_dali
from fmrgb_stream.pipelines.dali.settings import GraphSettings
from fmrgb_stream.pipelines.dali.sound import FedSound, read_sound
from fmrgb_stream.pipelines.quarantine import BadSample
from fmrgb_stream.pipelines.substitutes import (
    BAD_SAMPLE_ERRORS,
    MAX_NEIGHBOURS,
    all_neighbours_bad,
)
from fmrgb_stream.sample import ClipTask, PlannedClip

if TYPE_CHECKING:
    from fmrgb_stream.sample import IntArray


@dataclass(frozen=True, slots=True, kw_only=True)
class PrepareOrder:
    """What a preparing thread has to know."""

    source: ClipSource
    settings: GraphSettings
    make_decoder: Callable[[], FrameDecoder]
    """Of the host, for what the graph cannot decode or is not meant to."""
    make_sound: Callable[[], SoundDecoder]
    substitutes: bool
    """Whether a neighbour stands in for a bad sample."""
    reads_ahead: int = 0
    """Clips that a thread has fetched before it prepares them; 0 reads each when its turn comes."""
    read_ahead_bytes: int = 0
    """What they may take, of one thread."""
    refused: set[tuple[int, int]] = field(default_factory=set[tuple[int, int]])
    """(source, sample id) of what the graph refused before; the host decodes it at once."""
    refused_sound: dict[tuple[int, int], str] = field(default_factory=dict[tuple[int, int], str])
    """Likewise those of whose sound the graph could make nothing, and why; they are bad at once."""
    host_log: HostLog = field(default_factory=HostLog)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadyClip:
    """A clip that can be fed."""

    task: ClipTask
    """The one that was planned."""
    fed: FedClip
    attempt: int
    """0 for the task's own sample, else which neighbour stands in for it."""
    bad_samples: tuple[BadSample, ...]
    """Met on the way."""
    seconds: dict[Stage, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedClip:
    """A clip that ends the run."""

    error: BaseException
    bad_samples: tuple[BadSample, ...]


class ClipPreparer:
    """Prepares clips one at a time; belongs to one thread, whose codec state it keeps."""

    def __init__(self, order: PrepareOrder) -> None:
        """Nothing is read yet."""
        self._order = order
        self._clock = StageClock()
        self._cutter = GopCutter()
        self._decoder: FrameDecoder | None = None
        self._sound: SoundDecoder | None = None

    def prepare(
        self,
        task: ClipTask,
        *,
        on_host: bool,
        attempt: int = 0,
        bad_samples: tuple[BadSample, ...] = (),
    ) -> ReadyClip | FailedClip:
        """The task's clip, or its neighbour's from `attempt` on.

        Args:
            task: as planned.
            on_host: decode here, whatever the graph can.
            attempt: 0 is the task's own sample.
            bad_samples: met before; more may follow them.
        """
        met = list(bad_samples)
        try:
            return self._prepare(task, met, on_host=on_host, first_attempt=attempt)
        except Exception as error:  # noqa: BLE001 - the edge of a thread: the consumer raises it
            return FailedClip(error=error, bad_samples=tuple(met))

    def _prepare(
        self, task: ClipTask, met: list[BadSample], *, on_host: bool, first_attempt: int
    ) -> ReadyClip:
        source, last = self._order.source, None
        for attempt in range(first_attempt, MAX_NEIGHBOURS + 1):
            chosen = task if attempt == 0 else source.neighbour(task, attempt)
            try:
                with self._clock.timed("read"):
                    planned = source.fetch(chosen)
                fed = self._feed(planned, on_host=on_host)
            except BAD_SAMPLE_ERRORS as error:
                if not self._order.substitutes:
                    raise
                shard, key = source.describe(chosen)
                met.append(BadSample(shard=shard, key=key, reason=str(error)))
                last = error
                continue
            return ReadyClip(
                task=task,
                fed=fed,
                attempt=attempt,
                bad_samples=tuple(met),
                seconds=self._clock.take(),
            )
        raise all_neighbours_bad(task, last or met[-1].reason)

    def _feed(self, planned: PlannedClip, *, on_host: bool) -> FedClip:
        settings, sample = self._order.settings, planned.sample
        reason = self._order.refused_sound.get((planned.task.source, planned.task.sample_id))
        if reason is not None:
            raise DecodeError(reason, shard=sample.shard_url, key=sample.info.key)
        pictures_3NHW = cut = sound = None
        if settings.has_pictures and sample.info.has_video:
            with self._clock.timed("decode"):
                wanted, _ = wanted_frames(planned.plan, settings)
                if on_host or not self._is_for_dali(planned, wanted):
                    self._decoder = self._decoder or self._order.make_decoder()
                    pictures_3NHW = self._decoder.pictures(sample, wanted.tolist())
                else:
                    cut = self._cutter.cut(sample, wanted)
        if settings.has_sound:
            with self._clock.timed("audio"):
                sound = self._read_sound(planned)
        return feed_clip(planned, settings, cut=cut, pictures_3NHW=pictures_3NHW, sound=sound)

    def _is_for_dali(self, planned: PlannedClip, wanted: IntArray) -> bool:
        sample = planned.sample
        if (planned.task.source, planned.task.sample_id) in self._order.refused:
            return False
        problem = why_not_dali(sample, wanted, self._order.settings)
        if problem.is_lasting:
            self._order.host_log.note(sample, problem.reason)
        return not problem.reason

    def _read_sound(self, planned: PlannedClip) -> FedSound:
        self._sound = self._sound or self._order.make_sound()
        return read_sound(planned, self._order.settings, self._sound)
