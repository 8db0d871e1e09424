"""What a user wrote for a server or bucket -> checked, before a library that would panic sees it.

No message repeats a value: it may be, or hold, a secret.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import SplitResult, urlsplit

from fmrgb_stream.errors import ConfigError

_ENDPOINT_VARIABLES: Final = ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT")
_BUCKET: Final = re.compile(r"[A-Za-z0-9$][A-Za-z0-9._$-]*")
_HOST: Final = re.compile(r"[\w.-]+|[0-9A-Fa-f:.]+(%\w+)?")
"""A name, or an IPv6 address without its brackets."""
_FORM: Final = "http://host:port or https://host:port"


def split_url(url: str, *, shown: str) -> SplitResult:
    """The parts of a URL.

    Args:
        url: as it was written.
        shown: what to call it in a message.

    Raises:
        ConfigError: it is none.
    """
    try:
        return urlsplit(url)
    except ValueError as error:
        raise ConfigError(
            f"{shown}: the address cannot be read; is a bracket left open?"
        ) from error


def check_endpoint(endpoint: str, *, name: str) -> None:
    """Raise ConfigError unless it is the address of a server, without user and password."""
    parts = split_url(endpoint, shown=name)
    if parts.scheme not in ("http", "https"):
        raise ConfigError(f"{name} must begin with http:// or https://; write {_FORM}")
    if "@" in parts.netloc:
        raise ConfigError(
            f"{name} holds a user or password; set the environment variables of the store instead"
        )
    check_host(parts, name=name)
    if parts.query or parts.fragment:
        raise ConfigError(f"{name} holds a ? or #; write {_FORM}")


def check_host(parts: SplitResult, *, name: str) -> None:
    """Raise ConfigError unless host and port of a URL can be meant."""
    if not _HOST.fullmatch(parts.hostname or ""):
        raise ConfigError(f"{name}: the host is missing, or no name of a host; write {_FORM}")
    try:
        _ = parts.port
    except ValueError as error:
        raise ConfigError(
            f"{name}: the port must be a number up to 65535; write {_FORM}, and special characters "
            "of a password as %XX"
        ) from error


def check_bucket(netloc: str, *, scheme: str) -> None:
    """Raise ConfigError unless it can be the name of a bucket or container."""
    if "@" in netloc or ":" in netloc:
        raise ConfigError(
            f"{scheme}://: credentials or ports do not stand in such a URL; set the environment "
            f"variables of the store, and write {scheme}://bucket/prefix?endpoint={_FORM}"
        )
    if netloc and not _BUCKET.fullmatch(netloc):
        raise ConfigError(
            f"{scheme}://{netloc}: no bucket can be called so; its name is made of letters, digits, "
            "dots, dashes and underscores"
        )


def check_variables(environment: Mapping[str, str], *, shown: str) -> None:
    """Raise ConfigError for a variable that names an endpoint which cannot be meant."""
    for name in _ENDPOINT_VARIABLES:
        if name in environment:
            value = environment[name]
            if not value.strip():
                raise ConfigError(f"{shown}: {name} is set but empty; unset it, or write {_FORM}")
            check_endpoint(value, name=f"{shown}: the environment's {name}")
