"""Bucket + path -> bytes: ranges in parts, each pinned to the version that was seen first.

The first reply pins an object's ETag and size. From then on every request says `If-Match`, and
every reply is compared as well, because some servers ignore that: a part of another version is never
handed out. What the manifest says of an object (`expect`) is held against its size.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from fmrgb_stream.errors import RangesUnsupported, ShardUnreadable
from fmrgb_stream.storage.client import check_fork, open_client, trouble_of
from fmrgb_stream.storage.counts import ReadCounts, ReadMeter
from fmrgb_stream.storage.retry import RetryPolicy, Trouble, retried
from fmrgb_stream.storage.stopping import obey, obeyed
from fmrgb_stream.storage.urls import Location

if TYPE_CHECKING:
    from obstore.store import ObjectStore

PART_BYTES: Final = 8 << 20
PARTS_IN_FLIGHT: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Pin:
    """The version of an object that is being read."""

    size: int
    etag: str | None
    """None where the server has none."""
    modified: str
    """When it was written, for servers without ETags."""

    @property
    def condition(self) -> str | None:
        """The ETag for If-Match, which takes no weak ones."""
        return None if self.etag is None or self.etag.startswith("W/") else self.etag

    def is_same(self, other: Pin) -> bool:
        """Whether both are one version."""
        if self.etag is not None and other.etag is not None:
            return self.etag == other.etag
        return (self.size, self.modified) == (other.size, other.modified)


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What the manifest says of an object."""

    num_bytes: int | None
    sha256: str


class RemoteObjects:
    """One remote root. Safe to share between threads, not across a fork.

    Nothing is loaded or connected before the first request.
    """

    def __init__(self, location: Location, *, policy: RetryPolicy, meter: ReadMeter) -> None:
        """Take the root; nothing is asked yet."""
        self.location = location
        self.policy = policy
        self.meter = meter
        self.expected: dict[str, Expected] = {}
        self._client: ObjectStore | None = None
        self._pins: dict[str, Pin] = {}
        self._lock = threading.Lock()

    def url_of(self, path: str) -> str:
        """The full URL of one object, for messages."""
        return f"{self.location.shown}/{path}"

    def expect(self, path: str, *, num_bytes: int | None, sha256: str) -> None:
        """Note what the manifest says of an object."""
        self.expected[path] = Expected(num_bytes=num_bytes, sha256=sha256)

    def client(self) -> ObjectStore:
        """The library's client, made with the first request of this process."""
        check_fork(self.location.shown)
        with self._lock:
            if self._client is None:
                self._client = open_client(self.location, self.policy)
            return self._client

    def refresh(self) -> None:
        """Take the credentials from the environment, or from the machine, again."""
        with self._lock:
            self._client = None

    def forget(self, path: str) -> None:
        """Take the object as it is now with the next read."""
        with self._lock:
            self._pins.pop(path, None)

    def pin(self, path: str) -> Pin:
        """The object's version; a HEAD where none was seen yet."""
        return self._pins.get(path) or self._retried(path, partial(self._head, path))

    def read(self, path: str) -> bytes:
        """All bytes of one object, in parts; in one piece from a server that sends no parts."""
        try:
            first = self._part(path, 0, PART_BYTES)
        except RangesUnsupported:
            return bytes(self._retried(path, partial(self._get, path, None)))
        size = self.pin(path).size
        parts = self.parts(path, len(first), size)
        return b"".join([first, *parts]) if size > len(first) else bytes(first)

    def size(self, path: str) -> int:
        """Bytes of one object."""
        return self.pin(path).size

    def read_range(self, path: str, *, start: int, length: int) -> memoryview:
        """Bytes from `start` on; fewer than `length` at the end of the object. No copy of one part."""
        if length <= PART_BYTES:
            return self._part(path, start, start + length)
        stop = min(start + length, self.pin(path).size)
        content, place = bytearray(max(0, stop - start)), 0
        for part in self.parts(path, start, stop):
            content[place : place + len(part)] = part
            place += len(part)
        return memoryview(content)

    def parts(self, path: str, start: int, stop: int) -> Iterator[memoryview]:
        """The bytes from `start` to `stop` in order, `PARTS_IN_FLIGHT` parts at a time."""
        bounds = ((at, min(at + PART_BYTES, stop)) for at in range(start, stop, PART_BYTES))
        with ThreadPoolExecutor(
            PARTS_IN_FLIGHT,
            thread_name_prefix="fmrgb-fetch",
            initializer=obey,
            initargs=(obeyed(),),
        ) as pool:
            running: list[Future[memoryview]] = []
            try:
                for first, last in bounds:
                    running.append(pool.submit(self._part, path, first, last))
                    if len(running) == PARTS_IN_FLIGHT:
                        yield running.pop(0).result()
                while running:
                    yield running.pop(0).result()
            finally:
                for part in running:
                    part.cancel()

    def _part(self, path: str, start: int, stop: int) -> memoryview:
        pin = self._pins.get(path)
        if pin is not None:
            stop = min(stop, pin.size)
            if start >= stop:
                raise ShardUnreadable(
                    f"byte {start} lies behind its end, {pin.size}", url=self.url_of(path)
                )
        return self._retried(path, partial(self._get, path, (start, stop)))

    def _retried(self, path: str, attempt: Any) -> Any:
        return retried(
            attempt,
            policy=self.policy,
            url=self.url_of(path),
            refresh=self.refresh,
            count_retry=partial(self.meter.add, ReadCounts(num_retries=1, num_requests=1)),
        )

    def _head(self, path: str) -> Pin:
        import obstore

        client = self.client()
        try:
            meta = obstore.head(client, path)
        except (obstore.exceptions.BaseError, OSError) as error:
            raise trouble_of(error, self.policy) from None
        return self._pinned(path, meta)

    def _get(self, path: str, bounds: tuple[int, int] | None) -> memoryview:
        import obstore

        client = self.client()
        options: dict[str, Any] = {} if bounds is None else {"range": bounds}
        pin = self._pins.get(path)
        if pin is not None and pin.condition is not None:
            options["if_match"] = pin.condition
        try:
            result = obstore.get(client, path, options=options)  # pyright: ignore[reportArgumentType] - a TypedDict built by parts
            pin = self._pinned(path, result.meta)
            content = memoryview(result.bytes())
        except (obstore.exceptions.BaseError, OSError) as error:
            raise trouble_of(error, self.policy) from None
        wanted = pin.size if bounds is None else min(bounds[1], pin.size) - bounds[0]
        if len(content) != wanted:
            raise Trouble("passing", f"{len(content)} bytes came instead of {wanted}")
        self.meter.read(len(content))
        return content

    def _pinned(self, path: str, meta: Any) -> Pin:
        """Compare a reply's version with the pinned one, or pin it."""
        seen = Pin(size=meta["size"], etag=meta["e_tag"], modified=str(meta["last_modified"]))
        expected = self.expected.get(path)
        num_bytes = None if expected is None else expected.num_bytes
        with self._lock:
            pin = self._pins.get(path)
            if pin is not None and not pin.is_same(seen):
                raise Trouble("changed", "the object was replaced while it was read")
            if num_bytes is not None and seen.size != num_bytes:
                words = f"the server says {seen.size} bytes, the manifest {num_bytes}"
                raise Trouble("size", words)
            return self._pins.setdefault(path, seen)
