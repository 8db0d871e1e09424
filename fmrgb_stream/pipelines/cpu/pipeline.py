"""Tasks -> ClipBatch, on a pool of threads in one process.

Each worker makes one clip at a time and writes it into its place of a preallocated batch, so a clip
depends on its own task alone. FFmpeg, OpenCV, torch and libsndfile release the interpreter lock.

How a sample passes through the files of this folder:
    1. pipeline.py   takes batch memory (buffers.py), gives each task to a worker (threads.py)
    2. pipeline.py   the worker has `ClipSource` fetch the sample's bytes and plan
    3. clip.py       makes the planes, in the order of 4 to 6, and writes them into the batch
    4. video.py      frames -> RGB at clip size; they come from packets.py, or from files.py
    5. flow.py       grey frames -> flow
    6. mel.py        sound -> mel plane and extras; the waveform comes from sound.py
    7. assemble.py   the consumer's thread puts labels and times beside the planes -> ClipBatch
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import torch

from fmrgb_stream.config import ClipConfig, VideoDecoder
from fmrgb_stream.errors import (
    DatasetError,
    LoaderClosed,
    SampleError,
    StorageError,
    TooManyBadSamples,
)
from fmrgb_stream.pipelines.audio_planes import check_mel_range
from fmrgb_stream.pipelines.base import ClipSource
from fmrgb_stream.pipelines.cpu.assemble import ClipResult, assemble_batch
from fmrgb_stream.pipelines.cpu.buffers import BufferPool
from fmrgb_stream.pipelines.cpu.clip import ClipMaker
from fmrgb_stream.pipelines.cpu.counters import Counters, PipelineCounts
from fmrgb_stream.pipelines.cpu.files import load_decord
from fmrgb_stream.pipelines.cpu.flow import CpuFlowEstimator, choose_estimator
from fmrgb_stream.pipelines.cpu.mel import WaveformSpan
from fmrgb_stream.pipelines.cpu.threads import WorkerPool
from fmrgb_stream.pipelines.features import load_librosa
from fmrgb_stream.pipelines.quarantine import Quarantine
from fmrgb_stream.sample import ClipBatch, ClipTask

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAX_NEIGHBOURS: Final = 8
"""Tried in place of a bad sample, one after the other. When all are bad as well the run stops with
TooManyBadSamples, whatever the quarantine would still bear."""
BAD_SAMPLE_ERRORS: Final = (SampleError, DatasetError, StorageError)
"""What a sample's bytes can be guilty of; everything else ends the run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _PendingBatch:
    """A batch in the making."""

    tasks: Sequence[ClipTask]
    planes_BCTHW: NDArray[np.generic]
    clips: Sequence[Future[ClipResult]]

    def is_ready(self) -> bool:
        return all(clip.done() for clip in self.clips)


class CpuPipeline:
    """The CPU execution of the clip contract (see `ClipPipeline`)."""

    def __init__(
        self,
        source: ClipSource,
        *,
        clip: ClipConfig,
        num_threads: int,
        prefetch_batches: int,
        quarantine: Quarantine,
        video_decoder: VideoDecoder = "auto",
        has_labels: bool = True,
        num_targets: int = 0,
        nominal_fps: float = 30.0,
        audio_sample_rate: int = 16000,
    ) -> None:
        """Check that the settings can work; threads start with the first batch.

        Args:
            source: gives the planned clips; called from the worker threads.
            clip: what a clip is.
            num_threads: clips made at the same time.
            prefetch_batches: batches in the making while one is in use.
            quarantine: says what becomes of bad samples, and counts them.
            video_decoder: `auto` feeds packets where the index has them, else a file decoder.
            has_labels: whether the dataset has classes.
            num_targets: regression targets of the dataset.
            nominal_fps: frames a second of the dataset; sets the length of the waveform extra.
            audio_sample_rate: Hz of the dataset's sound, and of the waveform extra.

        Raises:
            ConfigError: the flow estimator does not run on this pipeline, or the mel filters reach
                beyond the sound.
            MissingExtraError: a setting needs a library that is not installed.
        """
        self._source = source
        self._clip = clip
        self._num_threads = num_threads
        self._prefetch_batches = prefetch_batches
        self._quarantine = quarantine
        self._video_decoder: VideoDecoder = video_decoder
        self._has_labels = has_labels
        self._num_targets = num_targets
        self._estimator: CpuFlowEstimator = choose_estimator(clip.flow)
        self._span = WaveformSpan.of(clip, nominal_fps=nominal_fps, sample_rate=audio_sample_rate)
        self._counters = Counters()
        self._buffers = BufferPool(max_free=prefetch_batches + 2)
        self._of_thread = threading.local()
        self._is_closed = False
        self._pools: set[WorkerPool] = set()
        # The garbage collector may end a forgotten iterator inside any call, also under this lock.
        self._lock = threading.RLock()
        if clip.needs_audio:
            check_mel_range(clip.mel, audio_sample_rate)
        if video_decoder == "decord":
            load_decord()
        if "audio_features" in clip.extras:
            load_librosa()

    def batches(self, tasks: Iterator[Sequence[ClipTask]]) -> Generator[ClipBatch]:
        """One batch for each list of tasks, in the order given.

        The lists are taken from the iterator in the thread that iterates, as late as
        `prefetch_batches` allows. The threads end with the iterator, however it ends.

        Raises:
            LoaderClosed: the pipeline is closed, now or while iterating.
            TooManyBadSamples: the quarantine is full, or a bad sample's neighbours are all bad.
            SampleError, DatasetError, StorageError: a bad sample, when the rule is `raise`.
        """
        self._check_open()
        return self._run(tasks)

    def close(self) -> None:
        """Stop every thread and drop what is in the making. Safe to call twice."""
        self._is_closed = True
        with self._lock:
            pools = tuple(self._pools)
        for pool in pools:
            pool.stop()

    def counts(self) -> PipelineCounts:
        """What was done so far, and where the time went."""
        return self._counters.snapshot(num_bad_samples=len(self._quarantine))

    def _check_open(self) -> None:
        if self._is_closed:
            raise LoaderClosed("the pipeline is closed; build a new one")

    def _run(self, tasks: Iterator[Sequence[ClipTask]]) -> Generator[ClipBatch]:
        self._check_open()
        pending: deque[_PendingBatch] = deque()
        with WorkerPool(self._num_threads) as pool:
            with self._lock:
                self._pools.add(pool)
            try:
                self._fill(pending, tasks, pool)
                while pending:
                    results = self._wait(pending[0])
                    batch = self._assemble(pending.popleft(), results)
                    self._fill(pending, tasks, pool)
                    self._counters.add(batches=1)
                    yield batch
                    del batch
            finally:
                try:
                    pool.stop()
                finally:
                    with self._lock:
                        self._pools.discard(pool)

    def _fill(
        self,
        pending: deque[_PendingBatch],
        tasks: Iterator[Sequence[ClipTask]],
        pool: WorkerPool,
    ) -> None:
        while len(pending) < self._prefetch_batches:
            listed = next(tasks, None)
            if listed is None:
                break
            shape = (len(listed), len(self._clip.planes), self._clip.num_frames, *self._clip.size)
            planes_BCTHW = self._buffers.take(shape, self._clip.dtype)
            try:
                clips = [
                    pool.submit(self._make_clip, task, planes_BCTHW[b])
                    for b, task in enumerate(listed)
                ]
            except RuntimeError:
                self._check_open()
                raise
            pending.append(_PendingBatch(tasks=listed, planes_BCTHW=planes_BCTHW, clips=clips))
        ready = sum(batch.is_ready() for batch in pending)
        self._counters.look(ahead=len(pending), ready=ready)

    def _wait(self, batch: _PendingBatch) -> list[ClipResult]:
        try:
            with self._counters.timed("wait"):
                results = [clip.result() for clip in batch.clips]
        except CancelledError:
            self._check_open()
            raise
        self._check_open()
        return results

    def _assemble(self, batch: _PendingBatch, results: Sequence[ClipResult]) -> ClipBatch:
        return assemble_batch(
            torch.from_numpy(batch.planes_BCTHW),  # pyright: ignore[reportUnknownMemberType]
            batch.tasks,
            results,
            channels=self._clip.planes,
            flow_estimator=self._estimator if self._clip.needs_flow else "",
            has_labels=self._has_labels,
            num_targets=self._num_targets,
        )

    def _make_clip(self, task: ClipTask, planes_CTHW: NDArray[np.generic]) -> ClipResult:
        try:
            return self._make_from(task, planes_CTHW, is_substitute=False)
        except BAD_SAMPLE_ERRORS as error:
            if self._quarantine.rule == "raise":
                raise
            bad = error
        for attempt in range(MAX_NEIGHBOURS + 1):
            standing_in = task if attempt == 0 else self._source.neighbour(task, attempt)
            try:
                if attempt > 0:
                    return self._make_from(standing_in, planes_CTHW, is_substitute=True)
            except BAD_SAMPLE_ERRORS as error:
                bad = error
            self._quarantine.add(*self._source.describe(standing_in), bad)
        raise TooManyBadSamples(
            f"sample {task.sample_id} is bad and so are all {MAX_NEIGHBOURS} that were tried in its "
            "place, the next one and others spread over the split; this stops a run whatever "
            "max_bad_fraction is. Run `fmrgb verify`"
        ) from bad

    def _make_from(
        self, task: ClipTask, planes_CTHW: NDArray[np.generic], *, is_substitute: bool
    ) -> ClipResult:
        with self._counters.timed("read"):
            planned = self._source.fetch(task)
        extras = self._maker().make(planned, planes_CTHW)
        self._counters.add(clips=1, substitutes=int(is_substitute))
        return ClipResult(
            info=planned.sample.info,
            plan=planned.plan,
            extras=extras,
            is_substitute=is_substitute,
        )

    def _maker(self) -> ClipMaker:
        maker: ClipMaker | None = getattr(self._of_thread, "maker", None)
        if maker is None:
            maker = self._of_thread.maker = ClipMaker(
                self._clip,
                estimator=self._estimator,
                video_decoder=self._video_decoder,
                span=self._span,
                counters=self._counters,
            )
        return maker
