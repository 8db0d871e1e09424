"""A batch that DALI refused -> the same batch without the clips that it refused.

DALI loses a whole batch to one clip and does not say whose it was. So each clip is tried alone. One
that fails is decoded on the host, which says what is wrong with it; if the host refuses it as well,
or DALI refuses its sound, a neighbour stands in.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from fmrgb_stream.errors import DecodeError
from fmrgb_stream.pipelines.dali.prepare import ClipPreparer, FailedClip, PrepareOrder, ReadyClip
from fmrgb_stream.pipelines.dali.queues import ListedBatches, ReadyBatch
from fmrgb_stream.pipelines.dali.run import Graph, GraphFailed
from fmrgb_stream.pipelines.quarantine import BadSample, Quarantine
from fmrgb_stream.pipelines.substitutes import MAX_NEIGHBOURS, all_neighbours_bad


def isolate(batch: ReadyBatch, order: PrepareOrder, quarantine: Quarantine) -> ReadyBatch | None:
    """The batch with every clip replaced that fails alone; None when no clip does.

    Samples that DALI refused are noted in `order.refused`.

    Raises:
        SampleError, DatasetError, StorageError: a clip is bad and nothing may stand in.
        TooManyBadSamples: nothing can.
    """
    reasons = failures(batch.clips, order)
    if not any(reasons):
        return None
    preparer = ClipPreparer(order)
    clips: list[ReadyClip] = []
    for clip, reason in zip(batch.clips, reasons, strict=True):
        good = _replaced(clip, reason, preparer, order) if reason else clip
        if isinstance(good, FailedClip):
            for bad in good.bad_samples:
                quarantine.add(bad)
            raise good.error
        clips.append(good)
    return ReadyBatch(clips=tuple(clips))


def failures(clips: Sequence[ReadyClip], order: PrepareOrder) -> list[str]:
    """For each clip, tried alone, what DALI says against it; empty for a good one."""
    graph = Graph(replace(order.settings, batch_size=1, queue_depth=1))
    reasons: list[str] = []
    try:
        while len(reasons) < len(clips):
            rest = [ReadyBatch(clips=(clip,)) for clip in clips[len(reasons) :]]
            try:
                for _ in graph.outputs(ListedBatches(rest)):
                    reasons.append("")  # noqa: PERF401 - what came before the error counts
            except GraphFailed as error:
                reasons.append(str(error))
    finally:
        graph.drop()
    return reasons


def _replaced(
    clip: ReadyClip, reason: str, preparer: ClipPreparer, order: PrepareOrder
) -> ReadyClip | FailedClip:
    """What stands in for a clip that DALI refused: itself decoded on the host, or a neighbour."""
    while reason:
        planned = clip.fed.planned
        if clip.fed.is_encoded:
            order.refused.add(planned.sample.sample_id)
            again = preparer.prepare(
                clip.task, on_host=True, attempt=clip.attempt, bad_samples=clip.bad_samples
            )
        else:
            info = planned.sample.info
            # Its pictures were decoded before, so it is the sound that nothing could be made of.
            refusal = f"DALI refused it: {reason}"
            order.refused_sound[planned.sample.sample_id] = refusal
            error = DecodeError(refusal, shard=planned.sample.shard_url, key=info.key)
            bad = BadSample(shard=planned.sample.shard_url, key=info.key, reason=str(error))
            if not order.substitutes:
                return FailedClip(error=error, bad_samples=clip.bad_samples)
            if clip.attempt == MAX_NEIGHBOURS:
                error = all_neighbours_bad(clip.task, str(error))
                return FailedClip(error=error, bad_samples=(*clip.bad_samples, bad))
            again = preparer.prepare(
                clip.task,
                on_host=False,
                attempt=clip.attempt + 1,
                bad_samples=(*clip.bad_samples, bad),
            )
        if isinstance(again, FailedClip):
            return again
        clip, reason = again, failures([again], order)[0]
    return clip
