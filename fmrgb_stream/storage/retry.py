"""What went wrong -> again after a pause, or a typed error. Ours is the outer of two loops.

The client's own loop (`inner_retries`) answers what passes in a moment: it resumes a body that
broke off from where it broke. This one has long pauses of random length (full jitter), so that many
ranks that failed together do not come back together.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeVar

from fmrgb_stream.errors import (
    AccessDenied,
    RangesUnsupported,
    ShardChanged,
    ShardNotFound,
    ShardUnreadable,
    StorageError,
    StorageTimeout,
    StorageUnavailable,
)
from fmrgb_stream.storage.stopping import check_stop
from fmrgb_stream.storage.stopping import pause as wait

Result = TypeVar("Result")
TroubleKind = Literal[
    "passing",  # server errors, broken connections, short replies
    "timeout",
    "no_range",  # the whole object came where a range was asked for
    "expired",  # credentials that were good once
    "missing",
    "denied",
    "changed",
    "beyond",  # the range begins behind the object's end
    "size",  # another size than the manifest's
    "refused",  # any other answer that will not change
]


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How often, and for how long, one part is asked for."""

    tries: int = 12
    """Rounds of requests; each may hold 1 + `inner_retries` of them."""
    inner_retries: int = 2
    first_pause_seconds: float = 0.2
    """Upper end of the first pause; it doubles with each."""
    max_pause_seconds: float = 20.0
    deadline_seconds: float = 120.0
    """No round begins later than this after the first, and none lasts longer."""
    read_timeout_seconds: float = 20.0
    """A connection that brings nothing for so long is given up."""
    connect_timeout_seconds: float = 5.0

    def pause_seconds(self, number: int) -> float:
        """A random pause before round `number` (from 1)."""
        longest = min(self.max_pause_seconds, self.first_pause_seconds * 2 ** (number - 1))
        return random.uniform(0.0, longest)


class Trouble(Exception):
    """A round of requests that failed, and why."""

    def __init__(self, kind: TroubleKind, reason: str, *, requests: int = 1) -> None:
        """Take a reason without secrets, and how many requests were made."""
        super().__init__(reason)
        self.kind: TroubleKind = kind
        self.reason = reason
        self.requests = requests


def retried(
    attempt: Callable[[], Result],
    *,
    policy: RetryPolicy,
    url: str,
    refresh: Callable[[], None],
    count_retry: Callable[[], None],
) -> Result:
    """The result of `attempt`, which raises `Trouble` where it fails.

    Args:
        attempt: one round of requests.
        policy: when to give up.
        url: for the error.
        refresh: gets new credentials; called once at most.
        count_retry: called before each further round.

    Raises:
        StorageError: of the kind that fits, with URL and number of requests.
        LoaderClosed: the run that the thread works for was closed.
    """
    end = time.monotonic() + policy.deadline_seconds
    requests, has_refreshed, has_asked_again = 0, False, False
    failed = Trouble("passing", "it was never tried")
    for number in range(1, policy.tries + 1):
        check_stop()
        try:
            return attempt()
        except Trouble as trouble:
            requests += trouble.requests
            failed = trouble
        pause = policy.pause_seconds(number)
        if failed.kind == "expired" and not has_refreshed:
            has_refreshed, pause = True, 0.0
            refresh()
        elif failed.kind in ("no_range", "size") and not has_asked_again:
            has_asked_again = True
        elif failed.kind not in ("passing", "timeout"):
            break
        if number == policy.tries or time.monotonic() + pause > end:
            break
        count_retry()
        wait(pause)
    raise final_error(failed, url=url, attempts=requests)


def final_error(trouble: Trouble, *, url: str, attempts: int) -> StorageError:
    """What the caller gets to see of a trouble that stays."""
    reason = trouble.reason
    match trouble.kind:
        case "missing":
            return ShardNotFound("no such object", url=url, attempts=attempts)
        case "denied" | "expired":
            words = f"{reason}; check the credentials in the environment, or add ?anonymous=true"
            return AccessDenied(words, url=url, attempts=attempts)
        case "changed":
            words = f"{reason}; start again, so that all of it is read from the new object"
            return ShardChanged(words, url=url, attempts=attempts)
        case "beyond" | "size":
            return ShardUnreadable(reason, url=url, attempts=attempts)
        case "timeout":
            return StorageTimeout(reason, url=url, attempts=attempts)
        case "no_range":
            words = "the server cannot send parts of objects; set cache_dir, or use another server"
            return RangesUnsupported(words, url=url, attempts=attempts)
        case "passing" | "refused":
            return StorageUnavailable(reason, url=url, attempts=attempts)
