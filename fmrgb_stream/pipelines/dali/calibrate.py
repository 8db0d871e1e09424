"""Where to decode, as asked -> which share of each batch the host's threads decode.

Small pictures may be decoded faster by many CPU cores than by a GPU's few decoders, large ones the
other way round; nothing but a trial tells.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from fmrgb_stream.config import DecodePlace
from fmrgb_stream.distributed import WorldInfo
from fmrgb_stream.errors import FmrgbError
from fmrgb_stream.pipelines.base import ClipSource
from fmrgb_stream.pipelines.dali.agree import can_agree, of_all_ranks
from fmrgb_stream.pipelines.dali.host_log import HostLog
from fmrgb_stream.pipelines.dali.prepare import ClipPreparer, PrepareOrder, ReadyClip
from fmrgb_stream.pipelines.dali.queues import ListedBatches, ReadyBatch
from fmrgb_stream.pipelines.dali.run import Graph, GraphFailed
from fmrgb_stream.sample import ClipTask, PlannedClip

logger = logging.getLogger(__name__)
MAX_TRIAL_CLIPS: Final = 16
NUM_ROUNDS: Final = 3
"""The first one warms up; the best of the others counts."""
MIN_SHARE: Final = 0.15
"""A decoder that would get less of a batch than this is left out."""
HYBRID_SHARES: Final = (0.05, 0.95)


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodeRates:
    """What the trial found, in clips a second."""

    graph: float
    """0 where the graph cannot decode these videos."""
    host: float


def host_share(
    order: PrepareOrder,
    decode: DecodePlace,
    trial: Callable[[], Sequence[ClipTask]],
    *,
    world: WorldInfo,
) -> float:
    """Which part of each batch the host decodes, 0..1; the same on every rank.

    `nvdec` is 0 and `host` 1. The others decode the clips of `trial` in both ways first and, where
    a process group is there, take the mean over its ranks, all of which have to come here. Without
    one, ranks cannot agree on what they measured, and nothing is measured.
    """
    if not order.settings.has_pictures or decode in ("nvdec", "host"):
        return float(decode == "host" and order.settings.has_pictures)
    if not can_agree(world):
        share = 0.0 if decode == "auto" else 0.5
        logger.info(
            "decode=%r: %d%% of each batch is decoded on the host; ranks have no process group yet "
            "to agree on a measurement. Set decode, or build the loader after the group",
            decode,
            round(100 * share),
        )
        return share
    rates = _agreed(partial(measure, order, trial), world)
    on_gpu = order.settings.device_id is not None
    share = choose_share(rates, decode, shares_cores=not on_gpu)
    logger.info(
        "decode=%r: %d%% of each batch is decoded on the host (%.0f clips/s there, %.0f clips/s in "
        "DALI on %s)",
        decode,
        round(100 * share),
        rates.host,
        rates.graph,
        order.settings.device,
    )
    return share


def choose_share(rates: DecodeRates, decode: DecodePlace, *, shares_cores: bool) -> float:
    """The host's share at which both decoders are done at the same time, or one alone.

    Args:
        rates: of the trial.
        decode: `hybrid` or `auto`; only `auto` may leave a decoder out.
        shares_cores: whether DALI decodes on the host's cores too, so that two gain nothing.
    """
    total = rates.graph + rates.host
    if total == 0 or rates.graph == 0:
        return 1.0
    share = rates.host / total
    if decode == "hybrid":
        low, high = HYBRID_SHARES
        return min(max(share, low), high)
    if shares_cores:
        return float(rates.host > rates.graph)
    if share < MIN_SHARE:
        return 0.0
    return 1.0 if share > 1 - MIN_SHARE else share


def measure(order: PrepareOrder, trial: Callable[[], Sequence[ClipTask]]) -> DecodeRates:
    """Decode the clips in both ways. Clips that cannot be had are left out.

    Reading costs the same whoever decodes, so all clips are read before the clock starts. The graph
    gets its clips checked and cut by the same threads that decode for the host; they work while it
    does, and the slower of the two counts.
    """
    tasks, num_workers = trial()[:MAX_TRIAL_CLIPS], order.settings.num_threads
    with ThreadPoolExecutor(num_workers, thread_name_prefix="fmrgb-trial") as pool:
        source = _Fetched(
            order.source, {task: pool.submit(_fetched, order, task) for task in tasks}
        )
        local_order = replace(order, source=source, substitutes=False, host_log=HostLog())
        local = [ClipPreparer(local_order) for _ in range(num_workers)]

        def prepare_all(*, on_host: bool) -> list[ReadyClip]:
            parts = [
                pool.submit(_prepare_some, local[k], tasks[k::num_workers], on_host=on_host)
                for k in range(num_workers)
            ]
            return [clip for part in parts for clip in part.result()]

        source.wait()
        host_seconds, on_host = _best(partial(prepare_all, on_host=True))
        feed_seconds, fed = _best(partial(prepare_all, on_host=False))
    encoded = [clip for clip in fed if clip.fed.is_encoded]
    graph = _graph_rate(order, encoded) if encoded else 0.0
    return DecodeRates(graph=min(graph, len(fed) / feed_seconds), host=len(on_host) / host_seconds)


class _Fetched:
    """A source of clips that are read already; a clip that cannot be had raises."""

    def __init__(
        self, source: ClipSource, clips: Mapping[ClipTask, Future[PlannedClip | FmrgbError]]
    ) -> None:
        self._source = source
        self._clips = clips
        self.neighbour, self.describe = source.neighbour, source.describe

    def wait(self) -> None:
        for clip in self._clips.values():
            clip.result()

    def fetch(self, task: ClipTask) -> PlannedClip:
        found = self._clips[task].result()
        if isinstance(found, FmrgbError):
            raise found
        return found


def _fetched(order: PrepareOrder, task: ClipTask) -> PlannedClip | FmrgbError:
    try:
        return order.source.fetch(task)
    except FmrgbError as error:
        return error


def _prepare_some(
    preparer: ClipPreparer, tasks: Sequence[ClipTask], *, on_host: bool
) -> list[ReadyClip]:
    made = (preparer.prepare(task, on_host=on_host) for task in tasks)
    return [clip for clip in made if isinstance(clip, ReadyClip)]


def _best(work: partial[list[ReadyClip]]) -> tuple[float, list[ReadyClip]]:
    """Seconds of the fastest round but the first, and what it gave."""
    best, made = float("inf"), list[ReadyClip]()
    for number in range(NUM_ROUNDS):
        start = time.perf_counter()
        made = work()
        if number:
            best = min(best, time.perf_counter() - start)
    return best, made


def _graph_rate(order: PrepareOrder, clips: Sequence[ReadyClip]) -> float:
    settings = replace(order.settings, batch_size=len(clips), queue_depth=1)
    rounds = ListedBatches([ReadyBatch(clips=tuple(clips))] * NUM_ROUNDS)
    best, start = float("inf"), time.perf_counter()
    graph = Graph(settings)
    try:
        for number, (_, outputs) in enumerate(graph.outputs(rounds)):
            # A value on the host is one that the GPU has made; only a trial may wait for it.
            outputs["pictures"].flatten()[0].item()
            now = time.perf_counter()
            if number:
                best = min(best, now - start)
            start = now
    except GraphFailed as error:
        logger.info("DALI could not decode the clips of the trial: %s", error)
        return 0.0
    finally:
        graph.drop()
    return len(clips) / best


def _agreed(measured: Callable[[], DecodeRates], world: WorldInfo) -> DecodeRates:
    """The mean over all ranks. One that cannot measure raises, and so do all others with it."""
    try:
        found: DecodeRates | FmrgbError = measured()
    except FmrgbError as error:
        found = error
    gathered, rates = of_all_ranks(found, world), list[DecodeRates]()
    if isinstance(found, FmrgbError):
        raise found
    for rank, one in enumerate(gathered):
        if isinstance(one, FmrgbError):
            raise FmrgbError(f"the trial of rank {rank} failed: {one}") from one
        rates.append(one)
    return DecodeRates(
        graph=sum(one.graph for one in rates) / len(rates),
        host=sum(one.host for one in rates) / len(rates),
    )
