"""Bytes and files -> a bucket: multipart for large ones, tried again, whole or not there."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

from fmrgb_stream.errors import ConfigError
from fmrgb_stream.storage.client import trouble_of
from fmrgb_stream.storage.counts import ReadMeter
from fmrgb_stream.storage.remote import PART_BYTES, PARTS_IN_FLIGHT, RemoteObjects
from fmrgb_stream.storage.retry import RetryPolicy, retried
from fmrgb_stream.storage.urls import Location

_OBJECT_SECONDS: Final = 3600.0
"""A large object may take its time; each request has the policy's own limits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredObject:
    """One object as a listing shows it."""

    size: int


class BucketWriter:
    """A root to write to. An object appears whole, or stays what it was."""

    def __init__(self, location: Location, *, policy: RetryPolicy | None = None) -> None:
        """Take the root; nothing is asked yet.

        Raises:
            ConfigError: it is an HTTP server, which is only read from.
        """
        if location.is_local or location.scheme.startswith("http"):
            raise ConfigError(
                f"{location.shown} cannot be written to; use a local folder, s3://, gs:// or az://"
            )
        self._policy = policy or RetryPolicy()
        self._remote = RemoteObjects(location, policy=self._policy, meter=ReadMeter())

    def url_of(self, path: str) -> str:
        """The full URL of one object."""
        return self._remote.url_of(path)

    def put(self, path: str, content: bytes | Path) -> None:
        """Write one object.

        Raises:
            StorageError: by cause, with the URL.
        """
        self._tried(path, partial(self._put, path, content))

    def read(self, path: str) -> bytes:
        """All bytes of one object."""
        self._remote.forget(path)  # it may be one of our own, written since
        return self._remote.read(path)

    def delete(self, path: str) -> None:
        """Remove one object; it need not be there."""
        self._tried(path, partial(self._delete, path))

    def list(self) -> dict[str, StoredObject]:
        """Everything below the root, by path."""
        return self._tried("", self._list)

    def _tried(self, path: str, attempt: Any) -> Any:
        return retried(
            attempt,
            policy=replace(self._policy, deadline_seconds=_OBJECT_SECONDS),
            url=self.url_of(path),
            refresh=self._remote.refresh,
            count_retry=lambda: None,
        )

    def _put(self, path: str, content: bytes | Path) -> None:
        import obstore

        client = self._remote.client()
        try:
            obstore.put(
                client, path, content, chunk_size=PART_BYTES, max_concurrency=PARTS_IN_FLIGHT
            )
        except (obstore.exceptions.BaseError, OSError) as error:
            if isinstance(error, OSError) and not isinstance(error, FileNotFoundError):
                raise  # of the local file
            raise trouble_of(error, self._policy) from None

    def _delete(self, path: str) -> None:
        import obstore

        client = self._remote.client()
        try:
            obstore.delete(client, path)
        except FileNotFoundError:
            pass
        except obstore.exceptions.BaseError as error:
            raise trouble_of(error, self._policy) from None

    def _list(self) -> dict[str, StoredObject]:
        import obstore

        client = self._remote.client()
        try:
            return {
                found["path"]: StoredObject(size=found["size"])
                for chunk in obstore.list(client, chunk_size=1000)
                for found in chunk
            }
        except (obstore.exceptions.BaseError, OSError) as error:
            raise trouble_of(error, self._policy) from None
