"""Prepared batches -> what the graph makes of them, in order, some batches ahead."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from fmrgb_stream.errors import ConfigError
from fmrgb_stream.pipelines.dali.feed import columns_of
from fmrgb_stream.pipelines.dali.graph import build_graph, output_names
from fmrgb_stream.pipelines.dali.library import CURE
from fmrgb_stream.pipelines.dali.prepare import ReadyClip
from fmrgb_stream.pipelines.dali.settings import GraphSettings

_DALI_ERRORS: Final = (RuntimeError, IndexError, ValueError, TypeError, MemoryError)
"""What DALI raises about data, depending on where it finds out."""

_HEAD_LINES: Final = ("Critical error in pipeline", "Current pipeline object")


class GraphFailed(Exception):
    """DALI gave up on a batch; the graph is of no use any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadyBatch:
    """The clips of one batch, all of them there."""

    clips: tuple[ReadyClip, ...]


class GraphRun:
    """One graph and the batches inside it. Used by one thread."""

    def __init__(self, settings: GraphSettings, batches: Iterator[ReadyBatch]) -> None:
        """Take batches from the iterator when they are needed; nothing runs yet."""
        self._settings = settings
        self._batches = batches
        self._names = output_names(settings)
        self._columns = columns_of(settings)
        self._num_fed = 0
        self._error: BaseException | None = None
        self.in_flight: deque[ReadyBatch] = deque()
        """What was fed and is not delivered. Holds the bytes that the graph reads."""

    def outputs(self) -> Iterator[tuple[ReadyBatch, dict[str, Tensor]]]:
        """Each batch with the graph's outputs by name, on the graph's device.

        Raises:
            GraphFailed: DALI refused a batch of `in_flight`.
            Exception: whatever the iterator of batches raised, after what came before it.
        """
        try:
            graph = build_graph(self._settings, self._next_columns)
        except _DALI_ERRORS as error:
            raise ConfigError(
                f"DALI cannot make its graph on {self._settings.device}: {_essence(str(error))}. "
                f"{CURE}"
            ) from error
        try:
            yield from self._run(graph)
        finally:
            # Before what it may still read, and before another one is built.
            del graph
        if self._error is not None:
            raise self._error

    def _run(self, graph: Any) -> Iterator[tuple[ReadyBatch, dict[str, Tensor]]]:
        num_delivered = 0
        failure = _scheduled(graph)
        if failure is not None:
            raise failure
        while True:
            try:
                with _dali_errors():
                    lists = graph.outputs(cuda_stream=self._stream())
            except StopIteration:
                break
            outputs = {name: _tensor(x) for name, x in zip(self._names, lists, strict=True)}
            del lists
            self._check_order(outputs.pop("serial"), num_delivered)
            batch = self.in_flight.popleft()
            num_delivered += 1
            failure = _scheduled(graph)
            if self._error is not None and not isinstance(self._error, Exception):
                raise self._error  # Ctrl-C does not wait for the batches before it
            yield batch, outputs
            del batch, outputs
            if failure is not None:
                raise failure

    def _next_columns(self) -> tuple[list[Any], ...]:
        """DALI's source. An error of our own must not be taken for one of DALI."""
        try:
            batch = next(self._batches)
        except StopIteration:
            raise
        except BaseException as error:
            self._error = error
            raise StopIteration from error
        self.in_flight.append(batch)
        serials = {"serial": np.array([self._num_fed], np.int64)}
        self._num_fed += 1
        return tuple(
            [(clip.fed.arrays | serials)[column.name] for clip in batch.clips]
            for column in self._columns
        )

    def _stream(self) -> Any:
        """The stream that outputs are used on; without a GPU there is none."""
        if self._settings.device_id is None:
            return None
        return torch.cuda.current_stream(self._settings.device_id)

    def _check_order(self, serials: Tensor, expected: int) -> None:
        found = serials.unique().tolist()
        assert found == [expected], f"DALI delivered batch {found}, {expected} was next"


@contextmanager
def _dali_errors() -> Generator[None]:
    try:
        yield
    except _DALI_ERRORS as error:
        # Without its traceback, which would keep the graph and all its memory alive.
        raise GraphFailed(_essence(str(error))) from error.with_traceback(None)


def _scheduled(graph: Any) -> GraphFailed | None:
    """Have the graph take and start what it has room for; the error, when that failed at once."""
    try:
        with _dali_errors():
            graph.schedule_run()
    except GraphFailed as failure:
        return failure
    return None


def _essence(message: str) -> str:
    """What DALI found, without the traceback of the graph and the places in its own source."""
    found = (message.rpartition("encountered:")[2] or message).partition("C++ context")[0]
    lines = (line.strip() for line in found.splitlines())
    return " ".join(line for line in lines if line and not line.startswith(_HEAD_LINES))


def _tensor(outputs: Any) -> Tensor:
    """The outputs of a batch as one tensor, on DALI's own memory."""
    return torch.from_dlpack(outputs.as_tensor())  # pyright: ignore[reportUnknownMemberType, reportPrivateImportUsage]
