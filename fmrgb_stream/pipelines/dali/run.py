"""Prepared batches -> what the graph makes of them, in order, some batches ahead."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from fmrgb_stream.errors import ConfigError, FmrgbError
from fmrgb_stream.pipelines.dali.device import check_alive
from fmrgb_stream.pipelines.dali.feed import columns_of
from fmrgb_stream.pipelines.dali.graph import build_graph, output_names
from fmrgb_stream.pipelines.dali.library import CURE
from fmrgb_stream.pipelines.dali.queues import BatchQueue, ListedBatches, ReadyBatch
from fmrgb_stream.pipelines.dali.settings import GraphSettings

_DALI_ERRORS: Final = (RuntimeError, IndexError, ValueError, TypeError, MemoryError)
"""What DALI raises about data, depending on where it finds out."""

_HEAD_LINES: Final = ("Critical error in pipeline", "Current pipeline object")


class GraphFailed(Exception):
    """DALI gave up on a batch; the graph is of no use any more."""


class Graph:
    """A DALI graph and the batches inside it. Used by one thread at a time, for one run at a time.

    It is built for the first run and serves the following ones, until a run fails or is broken off.
    """

    def __init__(self, settings: GraphSettings) -> None:
        """Nothing is built yet."""
        self._settings = settings
        self._names = output_names(settings)
        self._columns = columns_of(settings)
        self._graph: Any | None = None
        self._queue: BatchQueue = ListedBatches(())
        self._may_wait = self._is_over = False
        self._num_fed = self._num_delivered = 0
        self._error: BaseException | None = None
        self.in_flight: deque[ReadyBatch] = deque()
        """What was fed and is not delivered. Holds the bytes that the graph reads."""

    def outputs(self, batches: BatchQueue) -> Iterator[tuple[ReadyBatch, dict[str, Tensor]]]:
        """Each batch with the graph's outputs by name, on the graph's device.

        A batch that is made is handed out whether or not the next one is prepared.

        Raises:
            GraphFailed: DALI refused a batch of `in_flight`.
            DeviceError: the GPU cannot be used any more.
            Exception: whatever the queue raised, after what came before it.
        """
        self._queue, self._is_over, self._error = batches, False, None
        self._num_fed = self._num_delivered = 0
        self.in_flight.clear()
        is_clean = False
        try:
            self._build()
            yield from self._run()
            is_clean = self._error is None
        finally:
            self._queue = ListedBatches(())
            if not is_clean:
                self.drop()
        if self._error is not None:
            raise self._error

    def drop(self) -> None:
        """Let go of the graph with its threads and memory. `in_flight` stays."""
        self._graph = None

    def _build(self) -> None:
        if self._graph is not None:
            return
        try:
            self._graph = build_graph(self._settings, self._next_columns)
        except _DALI_ERRORS as error:
            said = _essence(str(error))
            check_alive(self._settings.device, said)
            raise ConfigError(
                f"DALI cannot make its graph on {self._settings.device}: {said}. {CURE}"
            ) from error

    def _run(self) -> Iterator[tuple[ReadyBatch, dict[str, Tensor]]]:
        while True:
            failure = self._fill(may_wait=not self.in_flight)
            if failure is not None:
                raise failure
            if not self.in_flight:
                return
            outputs = self._oldest()
            batch = self.in_flight.popleft()
            self._num_delivered += 1
            failure = self._fill(may_wait=False)
            if self._error is not None and not isinstance(self._error, Exception):
                raise self._error  # Ctrl-C does not wait for the batches before it
            yield batch, outputs
            del batch, outputs
            if failure is not None:
                raise failure

    def _fill(self, *, may_wait: bool) -> GraphFailed | None:
        """Have the graph take and start what it has room for; the error, when that failed at once.

        It takes what is ready; with `may_wait` it waits for the first batch.
        """
        assert self._graph is not None, "not built"
        self._may_wait = may_wait
        try:
            with self._dali_errors():
                # The source ends whenever there is nothing to take; this lets it begin anew.
                self._graph.reset()
                self._graph.schedule_run()
        except GraphFailed as failure:
            return failure
        return None

    def _next_columns(self) -> tuple[list[Any], ...]:
        """DALI's source. An error of our own must not be taken for one of DALI."""
        batch = None
        if len(self.in_flight) < self._settings.queue_depth and not self._is_over:
            try:
                batch = self._next_batch()
            except BaseException as error:
                self._error, self._is_over = error, True
                raise StopIteration from error
        if batch is None:
            raise StopIteration
        self.in_flight.append(batch)
        serials = {"serial": np.array([self._num_fed], np.int64)}
        self._num_fed += 1
        return tuple(
            [(clip.fed.arrays | serials)[column.name] for clip in batch.clips]
            for column in self._columns
        )

    def _next_batch(self) -> ReadyBatch | None:
        if not (self._may_wait or self._queue.is_ready()):
            return None
        self._may_wait = False
        batch = self._queue.take()
        self._is_over = batch is None
        return batch

    def _oldest(self) -> dict[str, Tensor]:
        """The outputs of the first batch of `in_flight`."""
        assert self._graph is not None, "not built"
        with self._dali_errors():
            lists = self._graph.outputs(cuda_stream=self._stream())
        outputs = {name: _tensor(x) for name, x in zip(self._names, lists, strict=True)}
        self._check_order(outputs.pop("serial"))
        if "frame_size" in outputs:
            _check_sizes(self.in_flight[0], outputs.pop("frame_size"))
        return outputs

    def _stream(self) -> Any:
        """The stream that outputs are used on; without a GPU there is none."""
        if self._settings.device_id is None:
            return None
        return torch.cuda.current_stream(self._settings.device_id)

    def _check_order(self, serials: Tensor) -> None:
        # On the host, like the frame sizes: nothing waits for the GPU here.
        found = serials.unique().tolist()
        if found != [self._num_delivered]:
            raise FmrgbError(
                f"DALI delivered batch {found} of this run where {self._num_delivered} was next: "
                "its clips would carry the labels of others. Use backend='cpu', and report this"
            )

    @contextmanager
    def _dali_errors(self) -> Generator[None]:
        try:
            yield
        except (*_DALI_ERRORS, StopIteration) as error:
            said = _essence(str(error)) or "it ended before its last batch"
            check_alive(self._settings.device, said)
            # Without its traceback, which would keep the graph and all its memory alive.
            raise GraphFailed(said) from error.with_traceback(None)


def _check_sizes(batch: ReadyBatch, sizes_B2: Tensor) -> None:
    """Refuse pictures of another size than the index says, as the host's decoder does.

    Raises:
        GraphFailed: names the size.
    """
    for clip, (height, width) in zip(batch.clips, sizes_B2.tolist(), strict=True):
        info = clip.fed.planned.sample.info
        if clip.fed.is_encoded and (width, height) != (info.width, info.height):
            raise GraphFailed(
                f"frames are {width}x{height} pixels, the index says {info.width}x{info.height}"
            )


def _essence(message: str) -> str:
    """What DALI found, without the traceback of the graph and the places in its own source."""
    found = (message.rpartition("encountered:")[2] or message).partition("C++ context")[0]
    lines = (line.strip() for line in found.splitlines())
    return " ".join(line for line in lines if line and not line.startswith(_HEAD_LINES))


def _tensor(outputs: Any) -> Tensor:
    """The outputs of a batch as one tensor, on DALI's own memory."""
    return torch.from_dlpack(outputs.as_tensor())  # pyright: ignore[reportUnknownMemberType, reportPrivateImportUsage]
