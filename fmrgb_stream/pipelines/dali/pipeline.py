"""Tasks -> ClipBatch, through a DALI graph that decodes ahead of the consumer."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
import weakref
from collections.abc import Callable, Generator, Iterator, Sequence

from fmrgb_stream.config import ClipConfig
from fmrgb_stream.distributed import WorldInfo
from fmrgb_stream.errors import FmrgbError, LoaderClosed
from fmrgb_stream.pipelines.bands import check_mel_range
from fmrgb_stream.pipelines.base import ClipSource, FrameDecoder, SoundDecoder
from fmrgb_stream.pipelines.counters import Counters, PipelineCounts
from fmrgb_stream.pipelines.dali.crew import PrepareCrew
from fmrgb_stream.pipelines.dali.isolate import isolate
from fmrgb_stream.pipelines.dali.library import load_dali
from fmrgb_stream.pipelines.dali.planes import BatchMaker
from fmrgb_stream.pipelines.dali.prepare import PrepareOrder
from fmrgb_stream.pipelines.dali.probe import choose_estimator
from fmrgb_stream.pipelines.dali.queues import BatchQueue, ListedBatches, ReadyBatch
from fmrgb_stream.pipelines.dali.run import Graph, GraphFailed
from fmrgb_stream.pipelines.dali.settings import GraphSettings, check_clip
from fmrgb_stream.pipelines.features import load_librosa
from fmrgb_stream.pipelines.quarantine import Quarantine
from fmrgb_stream.pipelines.waveform_span import WaveformSpan
from fmrgb_stream.sample import ClipBatch, ClipTask

logger = logging.getLogger(__name__)


class DaliPipeline:
    """The DALI execution of the clip contract (see `ClipPipeline`)."""

    def __init__(
        self,
        source: ClipSource,
        *,
        clip: ClipConfig,
        make_decoder: Callable[[], FrameDecoder],
        make_sound: Callable[[], SoundDecoder],
        num_workers: int,
        prefetch_batches: int,
        quarantine: Quarantine,
        device: str = "cpu",
        host_share: float = 0.0,
        batch_size: int = 1,
        has_labels: bool = True,
        num_targets: int = 0,
        nominal_fps: float = 30.0,
        audio_sample_rate: int = 16000,
        world: WorldInfo | None = None,
        reads_ahead: int = 0,
        read_ahead_bytes: int = 0,
    ) -> None:
        """Check that the settings can work; nothing is read or decoded yet.

        Args:
            source: gives the planned clips; called by threads of this process.
            clip: what a clip is.
            make_decoder: makes a decoder of the host; each thread that needs one makes its own.
            make_sound: likewise, for sound, all of which is decoded on the host.
            num_workers: threads that read and prepare, and as many of DALI's own.
            prefetch_batches: batches inside the graph while one is in use; as many are prepared.
            quarantine: says what becomes of bad samples, and counts them.
            device: `cpu`, `cuda` or `cuda:<index>`: where the planes are made and delivered.
            host_share: 0..1, which part of each batch is decoded by the host's threads.
            batch_size: the largest number of tasks a batch.
            has_labels: whether the dataset has classes.
            num_targets: regression targets of the dataset.
            nominal_fps: frames a second of the dataset; sets the length of the waveform extra.
            audio_sample_rate: Hz of the dataset's sound.
            world: this process among others, which agree on the flow estimator (a collective).
            reads_ahead: clips that a thread has fetched before their turn; for remote storage.
            read_ahead_bytes: what they may take, over all threads.

        Raises:
            MissingExtraError: DALI is not installed, or librosa where the extras need it.
            ConfigError: the settings need the CPU pipeline, or mel filters reach beyond the sound.
        """
        load_dali()
        check_clip(clip)
        if "audio_features" in clip.extras:
            load_librosa()
        if clip.needs_audio:
            check_mel_range(clip.mel, audio_sample_rate)
        engine = choose_estimator(clip, device, world=world or WorldInfo())
        settings = GraphSettings(
            clip=clip,
            device=device,
            estimator=engine.estimator,
            span=WaveformSpan.of(clip, nominal_fps=nominal_fps, sample_rate=audio_sample_rate),
            batch_size=batch_size,
            num_threads=num_workers,
            queue_depth=prefetch_batches,
        )
        self.order = PrepareOrder(
            source=source,
            settings=settings,
            make_decoder=make_decoder,
            make_sound=make_sound,
            substitutes=quarantine.rule == "substitute",
            reads_ahead=reads_ahead,
            read_ahead_bytes=read_ahead_bytes // num_workers,
        )
        self._maker = BatchMaker(
            settings, has_labels=has_labels, num_targets=num_targets, engine_sign=engine.sign
        )
        self._num_workers = num_workers
        self._prefetch_batches = prefetch_batches
        self.host_share = host_share
        """Which part of each batch the host's threads decode; may be set before a run."""
        self._quarantine = quarantine
        self._counters = Counters(num_workers=num_workers, num_batches_limit=prefetch_batches)
        self._crews: set[PrepareCrew] = set()
        self._graph: Graph | None = Graph(settings)
        """The one of the run before, which the next one takes; None while a run has it."""
        # The garbage collector may end a forgotten iterator inside any call, also under this lock.
        self._lock = threading.RLock()
        self._is_closed = False
        self._runs: weakref.WeakSet[Generator[ClipBatch]] = weakref.WeakSet()

    @property
    def works_ahead(self) -> bool:
        """Threads would be left behind by a consumer that never calls `close`."""
        return False

    def batches(self, tasks: Iterator[Sequence[ClipTask]]) -> Generator[ClipBatch]:
        """One batch for each list of tasks, in the order given, on the pipeline's device.

        The lists are taken from the iterator in the thread that iterates. Threads end with the
        iterator, however it ends; the graph stays for the next one.

        Raises:
            LoaderClosed: the pipeline is closed, now or while iterating.
            TooManyBadSamples: the quarantine is full, or a bad sample's neighbours are all bad.
            SampleError, DatasetError, StorageError: a bad sample, when the rule is `raise`.
        """
        self._check_open()
        run = self._run(tasks)
        self._runs.add(run)
        return run

    def close(self) -> None:
        """Stop every thread and drop what is in the making. Safe to call twice."""
        self._is_closed = True
        with self._lock:
            crews = tuple(self._crews)
        for crew in crews:
            crew.stop()
        for run in tuple(self._runs):
            # Its graph holds threads and memory; one that runs in another thread ends by itself.
            with contextlib.suppress(ValueError):
                run.close()
        with self._lock:
            graph, self._graph = self._graph, None
        if graph is not None:
            graph.drop()

    def counts(self) -> PipelineCounts:
        """What was done so far, and where the time went."""
        return self._counters.snapshot(
            num_bad_samples=len(self._quarantine), own_reads=self.order.source.read_counts()
        )

    def _check_open(self) -> None:
        if self._is_closed:
            raise LoaderClosed("the pipeline is closed; build a new one")

    def _run(self, tasks: Iterator[Sequence[ClipTask]]) -> Generator[ClipBatch]:
        self._check_open()
        crew = PrepareCrew(
            self.order,
            num_workers=self._num_workers,
            num_ahead=self._prefetch_batches,
            host_share=self.host_share,
        )
        with crew:
            with self._lock:
                self._crews.add(crew)
            num_before = self.counts().num_clips
            try:
                prepared = crew.batches(tasks)
                yield from self._replaying(crew, prepared)
                if prepared.failure is not None:
                    error, bad_samples = prepared.failure
                    for bad in bad_samples:
                        self._quarantine.add(bad)
                    raise error
            finally:
                with self._lock:
                    self._crews.discard(crew)
                num_clips = self.counts().num_clips - num_before
                self.order.host_log.tell(num_clips)

    def _replaying(self, crew: PrepareCrew, prepared: BatchQueue) -> Generator[ClipBatch]:
        """Deliver all that is prepared; after an error of DALI, what was inside goes in again."""
        with self._lock:
            graph, self._graph = self._graph, None
        graph = graph or Graph(self.order.settings)
        queue = ListedBatches((), then=prepared)
        try:
            while True:
                try:
                    yield from self._delivered(graph, queue)
                    return
                except GraphFailed as error:
                    # Its traceback would keep the failed graph and all its memory alive.
                    failure = error.with_traceback(None)
                again = self._without_culprits([*graph.in_flight, *queue.left], failure, crew)
                queue = ListedBatches(again, then=prepared)
        finally:
            with self._lock:
                if self._graph is None and not self._is_closed:
                    self._graph = graph
                else:
                    graph.drop()

    def _delivered(self, graph: Graph, queue: BatchQueue) -> Generator[ClipBatch]:
        outputs = graph.outputs(queue)
        start = time.perf_counter()
        for batch, values in outputs:
            self._check_open()
            made = self._maker.make(batch, values)
            self._count(batch, waited=time.perf_counter() - start)
            self._counters.look(ahead=len(graph.in_flight), ready=0)
            yield made
            del batch, values, made
            start = time.perf_counter()

    def _count(self, batch: ReadyBatch, *, waited: float) -> None:
        for clip in batch.clips:
            for bad in clip.bad_samples:
                self._quarantine.add(bad)
            self._counters.add_clip(clip.seconds, is_substitute=clip.attempt > 0)
        self._counters.add_batch(wait_seconds=waited)

    def _without_culprits(
        self, in_flight: Sequence[ReadyBatch], error: GraphFailed, crew: PrepareCrew
    ) -> list[ReadyBatch]:
        """What the failed graph held, the first batch of it that has culprits without them.

        Raises:
            FmrgbError: no clip fails alone: it was not the data.
        """
        batches = list(in_flight)
        for place, batch in enumerate(batches):
            self._check_open()
            cleaned = isolate(batch, self.order, self._quarantine)
            if cleaned is not None:
                batches[place] = cleaned
                self._give_up_decoding(batch, cleaned, error, crew)
                return batches
        raise FmrgbError(
            f"DALI failed on a batch of which every clip is good alone: {error}. Try "
            "decode='host', a smaller batch, or backend='cpu'"
        ) from error

    def _give_up_decoding(
        self, before: ReadyBatch, after: ReadyBatch, error: GraphFailed, crew: PrepareCrew
    ) -> None:
        """Leave decoding to the host once DALI has refused every video of a batch."""
        counts = [sum(clip.fed.is_encoded for clip in batch.clips) for batch in (before, after)]
        if self.host_share < 1 and counts[0] > 1 and counts[1] == 0:
            logger.warning(
                "DALI refused every video of a batch, and the host decodes them all: from now on it "
                "does (%s). Is the GPU's decoder there? Containers need NVIDIA_DRIVER_CAPABILITIES "
                "with 'video'",
                error,
            )
            crew.host_share = self.host_share = 1.0
