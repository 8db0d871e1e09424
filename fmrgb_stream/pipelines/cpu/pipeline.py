"""Tasks -> ClipBatch, by a crew of processes or threads.

Each worker makes one clip at a time and writes it into its place of a batch's memory, so a clip
depends on its own task alone, and nothing is copied or gathered afterwards.

How a sample passes through the files of this folder:
    1. pipeline.py   takes batch memory (buffers.py, layout.py), submits the tasks of a batch
    2. processes.py  gives each task to a free process (host.py); threads.py to a free thread
    3. work.py       the worker has `ClipSource` fetch the sample's bytes and plan
    4. clip.py       makes the planes, in the order of 5 to 7, and writes them into the batch
    5. video.py      frames -> RGB at clip size; they come from packets.py, or from files.py
    6. flow.py       grey frames -> flow
    7. mel.py        sound -> mel plane and extras; the waveform comes from sound.py
    8. assemble.py   the consumer's thread puts labels and times beside the planes -> ClipBatch
"""

from __future__ import annotations

import importlib.util
import threading
import time
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass

from fmrgb_stream.config import ClipConfig, VideoDecoder, WorkerKind
from fmrgb_stream.errors import LoaderClosed, MissingExtraError
from fmrgb_stream.pipelines.bands import check_mel_range
from fmrgb_stream.pipelines.base import ClipSource
from fmrgb_stream.pipelines.counters import Counters, PipelineCounts
from fmrgb_stream.pipelines.cpu.assemble import assemble_batch
from fmrgb_stream.pipelines.cpu.buffers import Block, BufferPool
from fmrgb_stream.pipelines.cpu.crew import Crew, PendingClips
from fmrgb_stream.pipelines.cpu.layout import batch_layout
from fmrgb_stream.pipelines.cpu.order import WaveformSpan, WorkOrder, choose_estimator
from fmrgb_stream.pipelines.cpu.processes import ProcessCrew, processes_are_possible
from fmrgb_stream.pipelines.cpu.results import FailedClip, MadeClip
from fmrgb_stream.pipelines.quarantine import Quarantine
from fmrgb_stream.sample import ClipBatch, ClipTask


@dataclass(frozen=True, slots=True, kw_only=True)
class _PendingBatch:
    """A batch in the making."""

    tasks: Sequence[ClipTask]
    block: Block
    clips: PendingClips


class CpuPipeline:
    """The CPU execution of the clip contract (see `ClipPipeline`)."""

    def __init__(
        self,
        source: ClipSource,
        *,
        clip: ClipConfig,
        num_workers: int,
        prefetch_batches: int,
        quarantine: Quarantine,
        worker_kind: WorkerKind = "auto",
        batch_size: int = 1,
        video_decoder: VideoDecoder = "auto",
        has_labels: bool = True,
        num_targets: int = 0,
        nominal_fps: float = 30.0,
        audio_sample_rate: int = 16000,
        reads_ahead: int = 0,
        read_ahead_bytes: int = 0,
    ) -> None:
        """Check that the settings can work; workers start with the first batch.

        Args:
            source: gives the planned clips; called by the workers. Processes get a copy each.
            clip: what a clip is.
            num_workers: clips made at the same time.
            prefetch_batches: batches in the making while one is in use.
            quarantine: says what becomes of bad samples, and counts them.
            worker_kind: `process`, `thread`, or `auto`: processes where the system has what they
                need (Linux).
            batch_size: the usual number of tasks a batch.
            video_decoder: `auto` feeds packets where the index has them, else a file decoder.
            has_labels: whether the dataset has classes.
            num_targets: regression targets of the dataset.
            nominal_fps: frames a second of the dataset; sets the length of the waveform extra.
            audio_sample_rate: Hz of the dataset's sound, and of the waveform extra.
            reads_ahead: clips that a worker has fetched while it decodes others; for remote storage.
            read_ahead_bytes: what they may take, over all workers.

        Raises:
            ConfigError: the flow estimator does not run on this pipeline, or the mel filters reach
                beyond the sound.
            MissingExtraError: a setting needs a library that is not installed.
        """
        if clip.needs_audio:
            check_mel_range(clip.mel, audio_sample_rate)
        _check_libraries(clip, video_decoder)
        self._order = WorkOrder(
            source=source,
            clip=clip,
            estimator=choose_estimator(clip.flow),
            video_decoder=video_decoder,
            span=WaveformSpan.of(clip, nominal_fps=nominal_fps, sample_rate=audio_sample_rate),
            substitutes=quarantine.rule == "substitute",
            reads_ahead=reads_ahead,
            read_ahead_bytes=read_ahead_bytes // num_workers,
        )
        self._num_workers = num_workers
        self._prefetch_batches = prefetch_batches
        self._quarantine = quarantine
        self._has_labels = has_labels
        self._num_targets = num_targets
        self._counters = Counters(num_workers=num_workers, num_batches_limit=prefetch_batches)
        self._is_closed = False
        self._crews: set[Crew] = set()
        # The garbage collector may end a forgotten iterator inside any call, also under this lock.
        self._lock = threading.RLock()
        self._processes: ProcessCrew | None = None
        if worker_kind == "process" or (worker_kind == "auto" and processes_are_possible()):
            self._processes = ProcessCrew(
                self._order,
                num_workers=num_workers,
                batch_size=batch_size,
                max_pending_batches=prefetch_batches,
                note_reads=self._counters.add_reads,
            )
            self._crews.add(self._processes)
        allocate = Block.private if self._processes is None else self._processes.allocate
        self._buffers = BufferPool(allocate, max_free=prefetch_batches + 2)

    @property
    def works_ahead(self) -> bool:
        """Processes do; threads would be left behind by a consumer that never calls `close`."""
        return self._processes is not None

    def batches(self, tasks: Iterator[Sequence[ClipTask]]) -> Generator[ClipBatch]:
        """One batch for each list of tasks, in the order given.

        The lists are taken from the iterator in the thread that iterates, as late as
        `prefetch_batches` allows. Threads end with the iterator, however it ends; processes go on
        until `close`.

        Raises:
            LoaderClosed: the pipeline is closed, now or while iterating.
            WorkerDied: a decode process has crashed or was killed.
            TooManyBadSamples: the quarantine is full, or a bad sample's neighbours are all bad.
            SampleError, DatasetError, StorageError: a bad sample, when the rule is `raise`.
        """
        self._check_open()
        return self._run(tasks)

    def close(self) -> None:
        """Stop every worker and drop what is in the making. Safe to call twice."""
        self._is_closed = True
        with self._lock:
            crews = tuple(self._crews)
        for crew in crews:
            crew.stop()
        self._buffers.close()

    def counts(self) -> PipelineCounts:
        """What was done so far, and where the time went."""
        return self._counters.snapshot(
            num_bad_samples=len(self._quarantine), own_reads=self._order.source.read_counts()
        )

    def _check_open(self) -> None:
        if self._is_closed:
            raise LoaderClosed("the pipeline is closed; build a new one")

    def _crew(self) -> Crew:
        if self._processes is not None:
            return self._processes
        # Torch and OpenCV, which a consumer of processes need not load.
        from fmrgb_stream.pipelines.cpu.threads import ThreadCrew

        return ThreadCrew(self._order, num_workers=self._num_workers)

    def _run(self, tasks: Iterator[Sequence[ClipTask]]) -> Generator[ClipBatch]:
        self._check_open()
        pending: deque[_PendingBatch] = deque()
        with self._crew() as crew:
            with self._lock:
                self._crews.add(crew)
            try:
                self._fill(pending, tasks, crew)
                while pending:
                    start = time.perf_counter()
                    clips = self._made(pending[0].clips.results())
                    waited = time.perf_counter() - start
                    batch = self._assemble(pending.popleft(), clips)
                    self._fill(pending, tasks, crew)
                    self._counters.add_batch(wait_seconds=waited)
                    yield batch
                    del batch
            finally:
                if crew is not self._processes:
                    with self._lock:
                        self._crews.discard(crew)

    def _fill(
        self, pending: deque[_PendingBatch], tasks: Iterator[Sequence[ClipTask]], crew: Crew
    ) -> None:
        while len(pending) < self._prefetch_batches:
            listed = next(tasks, None)
            if listed is None:
                break
            layout = batch_layout(self._order.clip, self._order.span, len(listed))
            block = self._buffers.take(layout.num_bytes)
            clips = crew.submit(listed, block)
            pending.append(_PendingBatch(tasks=listed, block=block, clips=clips))
        crew.collect()
        ready = sum(batch.clips.is_ready() for batch in pending)
        self._counters.look(ahead=len(pending), ready=ready)

    def _made(self, results: Sequence[MadeClip | FailedClip]) -> list[MadeClip]:
        self._check_open()
        made: list[MadeClip] = []
        for clip in results:
            for bad in clip.bad_samples:
                self._quarantine.add(bad)
            if isinstance(clip, FailedClip):
                raise clip.error
            self._counters.add_clip(clip.seconds, is_substitute=clip.is_substitute)
            made.append(clip)
        return made

    def _assemble(self, batch: _PendingBatch, clips: Sequence[MadeClip]) -> ClipBatch:
        clip = self._order.clip
        return assemble_batch(
            batch.block.memory,
            batch_layout(clip, self._order.span, len(batch.tasks)),
            batch.tasks,
            clips,
            channels=clip.planes,
            flow_estimator=self._order.estimator if clip.needs_flow else "",
            has_labels=self._has_labels,
            num_targets=self._num_targets,
        )


def _check_libraries(clip: ClipConfig, video_decoder: VideoDecoder) -> None:
    """Tell what is missing before workers are started."""
    needed = [
        ("decord", "decord", "video_decoder='decord'", video_decoder == "decord"),
        ("librosa", "features", "the extra 'audio_features'", "audio_features" in clip.extras),
    ]
    for library, extra, purpose, is_needed in needed:
        if is_needed and _is_missing(library):
            raise MissingExtraError(library, extra, purpose)


def _is_missing(library: str) -> bool:
    try:
        return importlib.util.find_spec(library) is None
    except ValueError:
        # What find_spec says of a module that was set to None in sys.modules.
        return True
