"""URL -> Location: scheme, bucket, prefix and options, with what is secret kept out of sight."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal, cast
from urllib.parse import SplitResult, parse_qsl, unquote

from fmrgb_stream.errors import ConfigError
from fmrgb_stream.storage.addresses import check_bucket, check_endpoint, check_host, split_url

Scheme = Literal["file", "s3", "gs", "az", "http", "https"]
_SCHEMES: Final = ("file", "s3", "gs", "az", "http", "https")
_OPTIONS: Final = {"s3": {"endpoint", "region", "anonymous"}} | {
    scheme: {"endpoint", "anonymous"} for scheme in ("gs", "az")
}
_TRUTH: Final = {"true": True, "1": True, "false": False, "0": False}


@dataclass(frozen=True, slots=True, kw_only=True)
class Location:
    """Where a dataset root lies."""

    scheme: Scheme
    shown: str
    """The URL for messages and names: without options, user, or password."""
    bucket: str = ""
    """Bucket or container; host and port of an HTTP server."""
    prefix: str = ""
    """Without slashes at its ends."""
    endpoint: str | None = None
    region: str | None = None
    anonymous: bool = False
    """Requests go unsigned."""
    credentials: tuple[str, str] | None = field(default=None, repr=False)
    """User and password of an HTTP server."""
    folder: Path = Path()
    """Of a local root; absolute, so that it stays the same when the process goes elsewhere."""

    @property
    def identity(self) -> str:
        """What tells this root from all others; no secret in it."""
        return self.shown if self.endpoint is None else f"{self.shown} at {self.endpoint}"

    @property
    def is_local(self) -> bool:
        """Whether it is a folder of this machine."""
        return self.scheme == "file"


def parse_location(root: str | os.PathLike[str]) -> Location:
    """Take a root apart; nothing is opened.

    `s3://bucket/prefix?endpoint=http://host:9000&region=eu-west-1&anonymous=true`; endpoint and
    anonymous also for gs:// and az://. HTTP takes `user:password@`.

    Raises:
        ConfigError: the scheme or an option is not known, or the bucket is missing. The message
            does not repeat values, which may be secret.
    """
    url = os.fspath(root)
    scheme, separator, _ = url.partition("://")
    if not separator:
        return Location(scheme="file", shown=url, folder=Path(url).expanduser().absolute())
    parts = split_url(url, shown=f"{scheme}://...")
    if parts.scheme not in _SCHEMES:
        raise ConfigError(
            f"scheme {scheme!r} cannot be read; use a local path or one of "
            + ", ".join(f"{known}://" for known in _SCHEMES)
        )
    if parts.scheme == "file":
        if parts.netloc not in ("", "localhost"):
            raise ConfigError(
                f"{url}: what follows file:// is a host; write file:///{parts.netloc}{parts.path} "
                "for a path from the root, or the path alone"
            )
        return Location(scheme="file", shown=url, folder=Path(unquote(parts.path)).absolute())
    return _remote(parts)


def _remote(parts: SplitResult) -> Location:
    scheme = cast("Scheme", parts.scheme)
    is_http = scheme.startswith("http")
    if is_http and parts.netloc:
        check_host(parts, name=f"{scheme}://...")
    elif not is_http:
        check_bucket(parts.netloc, scheme=scheme)
    host = parts.netloc.rpartition("@")[2]
    prefix = unquote(parts.path).strip("/")
    shown = f"{scheme}://{host}/{prefix}".rstrip("/")
    if not host:
        raise ConfigError(f"{shown}: the bucket is missing; write {scheme}://bucket/prefix")
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    known = _OPTIONS.get(scheme, set[str]())
    if unknown := sorted(set(options) - known):
        allowed = ", ".join(sorted(known)) or "none"
        raise ConfigError(f"{shown}: URL options {unknown} are not known; allowed: {allowed}")
    anonymous = _TRUTH.get(options.get("anonymous", "false").lower())
    if anonymous is None:
        raise ConfigError(f"{shown}: anonymous={options['anonymous']!r} must be true or false")
    endpoint = options.get("endpoint")
    if endpoint is not None:
        check_endpoint(endpoint, name=f"{shown}: endpoint")
    return Location(
        scheme=scheme,
        shown=shown,
        bucket=host,
        prefix=prefix,
        endpoint=endpoint,
        region=options.get("region"),
        anonymous=anonymous,
        credentials=None
        if parts.username is None
        else (unquote(parts.username), unquote(parts.password or "")),
    )
