"""A run that is closed -> its threads' waits for storage end.

Each thread obeys the event of the run it was started for, so that an old run which is closed late
ends no wait of a new one that reads from the same store.
"""

from __future__ import annotations

import threading
import time
from contextvars import ContextVar
from typing import Final

from fmrgb_stream.errors import LoaderClosed

_stop: Final[ContextVar[threading.Event | None]] = ContextVar("stop", default=None)


def obey(stop: threading.Event | None) -> None:
    """From now on, the waits of this thread end when the event is set."""
    _stop.set(stop)


def obeyed() -> threading.Event | None:
    """The event that this thread obeys, to hand it on to threads that work for it."""
    return _stop.get()


def check_stop() -> None:
    """Go on unless the run is closed.

    Raises:
        LoaderClosed: it is.
    """
    stop = _stop.get()
    if stop is not None and stop.is_set():
        raise LoaderClosed("the loader was closed while it waited for storage; build another one")


def pause(seconds: float) -> None:
    """Wait.

    Raises:
        LoaderClosed: the run was closed before or meanwhile.
    """
    stop = _stop.get()
    if stop is None:
        time.sleep(seconds)
    else:
        stop.wait(seconds)
        check_stop()
