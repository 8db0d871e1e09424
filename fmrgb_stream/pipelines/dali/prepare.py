"""One task -> a clip that can be fed, with a neighbour in place of a bad sample."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fmrgb_stream.clips.count import count_packets
from fmrgb_stream.clips.cut import GopCutter
from fmrgb_stream.errors import DecodeError, RejectedInput
from fmrgb_stream.pipelines.base import ClipSource, FrameDecoder
from fmrgb_stream.pipelines.counters import Stage, StageClock
from fmrgb_stream.pipelines.dali.feed import FedClip, feed_clip, wanted_frames
from fmrgb_stream.pipelines.dali.settings import GraphSettings
from fmrgb_stream.pipelines.quarantine import BadSample
from fmrgb_stream.pipelines.substitutes import (
    BAD_SAMPLE_ERRORS,
    MAX_NEIGHBOURS,
    all_neighbours_bad,
)
from fmrgb_stream.sample import ClipTask, EncodedSample, PlannedClip, SampleInfo

if TYPE_CHECKING:
    from fmrgb_stream.sample import IntArray


@dataclass(frozen=True, slots=True, kw_only=True)
class PrepareOrder:
    """What a preparing thread has to know."""

    source: ClipSource
    settings: GraphSettings
    make_decoder: Callable[[], FrameDecoder]
    """Of the host, for what the graph cannot decode or is not meant to."""
    substitutes: bool
    """Whether a neighbour stands in for a bad sample."""
    refused: set[tuple[int, int]] = field(default_factory=set[tuple[int, int]])
    """(source, sample id) of those that the graph has refused before; they are decoded on the host at once."""


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
                with self._clock.timed("decode"):
                    is_refused = (chosen.source, chosen.sample_id) in self._order.refused
                    fed = self._feed(planned, on_host=on_host or is_refused)
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
        if settings.has_sound:
            _check_audio(sample)
        if not (settings.has_pictures and sample.info.has_video):
            return feed_clip(planned, settings, cut=None, pictures_3NHW=None)
        wanted, _ = wanted_frames(planned.plan, settings)
        if on_host or not can_decode(sample.info, settings):
            self._decoder = self._decoder or self._order.make_decoder()
            pictures = self._decoder.pictures(sample, wanted.tolist())
            return feed_clip(planned, settings, cut=None, pictures_3NHW=pictures)
        check_video(sample, wanted)
        cut = self._cutter.cut(sample, wanted)
        return feed_clip(planned, settings, cut=cut, pictures_3NHW=None)


def can_decode(info: SampleInfo, settings: GraphSettings) -> bool:
    """Whether the graph decodes this video to the right colours, the right way up.

    DALI reads everything as BT.601 and looks at no rotation.
    """
    return (
        info.codec in settings.codecs
        and info.color_matrix == "bt601"
        and info.color_range == "limited"
        and info.rotation_degrees == 0
    )


def check_video(sample: EncodedSample, wanted: IntArray) -> None:
    """Refuse what DALI would decode to something else without a word.

    Raises:
        DecodeError: the member is missing, empty or cut off, holds another number of frames than
            the index says, or a wanted frame lies beyond them.
    """
    info, table, video = sample.info, sample.info.packets, sample.video
    problem = ""
    if video is None or not len(video):
        problem = "the video member is missing or empty"
    elif int(wanted.max()) >= info.num_frames:
        problem = f"frame {int(wanted.max())} is wanted of {info.num_frames}"
    elif table is not None and int((table.offsets + table.sizes).max(initial=0)) > len(video):
        problem = f"the packet table ends beyond the member's {len(video)} bytes"
    else:
        try:
            num_packets = count_packets(bytes(video)) if table is None else len(table.pts)
        except RejectedInput as error:
            problem = f"the video member cannot be opened: {error.reason}"
        else:
            if num_packets != info.num_frames:
                problem = f"{num_packets} packets but {info.num_frames} frames in the index"
    if problem:
        raise DecodeError(problem, shard=sample.shard_url, key=info.key)


def _check_audio(sample: EncodedSample) -> None:
    if sample.info.has_audio and not sample.audio:
        raise DecodeError(
            "the audio member is missing or empty", shard=sample.shard_url, key=sample.info.key
        )
