"""Location -> obstore's client, and what its errors mean. The only file that knows the library.

It is loaded with the first remote root, and connects with the first request. From then on a fork of
this process would hang for ever in the library, also with a new client: `check_fork` refuses that.
"""

from __future__ import annotations

import base64
import os
import re
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from fmrgb_stream.errors import ConfigError
from fmrgb_stream.storage.addresses import check_variables
from fmrgb_stream.storage.retry import RetryPolicy, Trouble, TroubleKind
from fmrgb_stream.storage.urls import Location

if TYPE_CHECKING:
    from obstore.store import ClientConfig, ObjectStore, RetryConfig

_STATUS: Final = re.compile(r"status code: (\d{3}) ?([A-Za-z ]*)")
_CODE: Final = re.compile(r"<Code>(\w+)</Code>")
_RETRIES: Final = re.compile(r"after (\d+) retries")
_METADATA_SERVICES: Final = ("169.254.169.254", "metadata.google.internal", "169.254.170.2")
_EXPIRED: Final = ("ExpiredToken", "TokenRefreshRequired", "AuthenticationFailed: expired")
_OTHER_REGION: Final = (
    "redirect without LOCATION",
    "PermanentRedirect",
    "AuthorizationHeaderMalformed",
)
_CAUSES: Final = (
    ("dns error", "the server's name cannot be resolved"),
    ("Connection refused", "the server refuses the connection"),
    ("ConnectionRefused", "the server refuses the connection"),
    ("certificate", "the server's certificate is not accepted"),
    ("Connection reset", "the connection broke"),
    ("ConnectionReset", "the connection broke"),
    ("UnexpectedEof", "the reply ended too soon"),
    ("IncompleteMessage", "the connection broke"),
)
_used_by: int | None = None


def open_client(location: Location, policy: RetryPolicy) -> ObjectStore:
    """A client of the location's root. Credentials come from the environment.

    Raises:
        ConfigError: settings that the library does not take.
    """
    from obstore.exceptions import BaseError
    from obstore.store import AzureStore, GCSStore, HTTPStore, S3Store

    if location.scheme == "s3" and location.endpoint is None:
        check_variables(os.environ, shown=location.shown)
    options = _client_options(location, policy)
    retries: RetryConfig = {
        "max_retries": policy.inner_retries,
        "retry_timeout": timedelta(seconds=30),
        "backoff": {
            "init_backoff": timedelta(milliseconds=100),
            "max_backoff": timedelta(seconds=2),
            "base": 2,
        },
    }
    common: dict[str, Any] = {"client_options": options, "retry_config": retries}
    rooted: dict[str, Any] = {**common, "prefix": location.prefix or None}
    if location.anonymous:
        rooted["skip_signature"] = True
    try:
        match location.scheme:
            case "s3":
                chosen = {"endpoint": location.endpoint, "region": location.region}
                given = {name: value for name, value in chosen.items() if value is not None}
                return S3Store(location.bucket, **given, **rooted)
            case "gs":
                if location.endpoint is not None:
                    rooted["base_url"] = location.endpoint
                return GCSStore(location.bucket, **rooted)
            case "az":
                if location.endpoint is not None:
                    rooted["endpoint"] = location.endpoint
                return AzureStore(location.bucket, **rooted)
            case _:
                root = f"{location.scheme}://{location.bucket}/{quote(location.prefix)}"
                return HTTPStore.from_url(root, **common)
    except (BaseError, ValueError, TypeError) as error:
        # Its first line names the setting; the others may repeat values.
        words = str(error).splitlines()[0]
        raise ConfigError(
            f"{location.shown} cannot be opened: {words}; check the options of the URL and the store's "
            "environment variables"
        ) from None


def _client_options(location: Location, policy: RetryPolicy) -> ClientConfig:
    options: ClientConfig = {
        # An endpoint without TLS is chosen by its own http://.
        "allow_http": True,
        "timeout": timedelta(seconds=policy.deadline_seconds),
        "read_timeout": timedelta(seconds=policy.read_timeout_seconds),
        "connect_timeout": timedelta(seconds=policy.connect_timeout_seconds),
    }
    if location.credentials is not None:
        token = base64.b64encode(":".join(location.credentials).encode()).decode()
        options["default_headers"] = {"Authorization": f"Basic {token}"}
    return options


def check_fork(shown: str) -> None:
    """Note that this process uses the library.

    Raises:
        ConfigError: the process it was forked from had used it already.
    """
    global _used_by
    process = os.getpid()
    if _used_by not in (None, process):
        raise ConfigError(
            f"{shown}: this process was forked from one that has read from a bucket, and would "
            "hang; start processes with 'spawn' or 'forkserver', or open the first remote root "
            "after the fork"
        )
    _used_by = process


def trouble_of(error: BaseException, policy: RetryPolicy) -> Trouble:
    """What an error of the library means. Of its text only what cannot be secret is kept."""
    text = str(error)
    status = _STATUS.search(text)
    retries = _RETRIES.search(text)
    # A body that broke off says nothing of the retries that it has used up.
    is_body = "request or response body error" in text
    requests = 1 + (int(retries[1]) if retries else policy.inner_retries * is_body)
    kind, reason = _kind_and_reason(error, text, int(status[1]) if status else None)
    if status and kind in ("passing", "denied", "refused", "expired"):
        code = _CODE.search(text)
        answer = f"{status[1]} {code[1] if code else status[2].strip()}".strip()
        reason = f"{reason}: {answer}" if reason else f"the server answers {answer}"
    return Trouble(kind, reason, requests=requests)


def _told(text: str) -> tuple[TroubleKind, str] | None:
    """What the text alone tells, whatever the error is called."""
    if any(host in text for host in _METADATA_SERVICES):
        return "denied", "there are no credentials, neither in the environment nor of this machine"
    if any(sign in text for sign in _OTHER_REGION):
        return "refused", "the bucket is in another region; set AWS_REGION or ?region="
    return None


def _kind_and_reason(
    error: BaseException, text: str, status: int | None
) -> tuple[TroubleKind, str]:
    from obstore import exceptions

    told = _told(text)
    if told is not None:
        return told
    if isinstance(error, exceptions.UnauthenticatedError) or any(w in text for w in _EXPIRED):
        return "expired", "the credentials are not, or no longer, valid"
    if isinstance(error, FileNotFoundError):
        return "missing", "no such object"
    if isinstance(error, exceptions.PermissionDeniedError):
        return "denied", "access denied"
    if isinstance(error, exceptions.PreconditionError):
        return "changed", "the object was replaced while it was read"
    if "NotPartial" in text:
        return "no_range", "the server sends whole objects where parts are asked for"
    if status == 416:
        return "beyond", "the range lies behind the end of the object"
    if status is not None and 400 <= status < 500 and status not in (408, 429):
        return "refused", "the request was refused"
    if status is None and ("TimedOut" in text or "timed out" in text):
        return "timeout", "no answer in time"
    found = (words for sign, words in _CAUSES if sign in text)
    return "passing", next(found, "" if status else "the request failed")
