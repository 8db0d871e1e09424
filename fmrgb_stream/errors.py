"""What can go wrong, as one tree. Every message says what happened, where, and the cure.

FmrgbError
├── ConfigError (ValueError)            a setting that cannot work: the value, what is allowed
├── MissingExtraError (ImportError)     an optional library is needed: names the extra to install
├── StorageError                        bytes could not be had
│   ├── ShardNotFound                   no such file or object
│   └── AccessDenied                    there, but not for these credentials
├── DatasetError                        the dataset on disk or in the bucket is not what it should be
│   ├── ManifestError                   manifest.json missing, malformed, or of another schema version
│   └── ShardCorrupt                    a member's checksum or size differs from the index
├── SampleError                         one sample cannot be used; carries its shard and key
│   └── DecodeError                     the codec refused it, or gave another number of frames
├── DeviceError                         the GPU cannot be used by this process any more
├── WorkerDied                          a decode process has crashed or was killed
├── TooManyBadSamples                   more samples failed than `max_bad_fraction` allows
├── StateMismatch                       a saved loader state belongs to other data or settings
├── LoaderClosed                        the loader was used after close()
└── PackError                           packing as a whole cannot go on
    ├── SourceError                     the source folder or table is unusable
    └── RejectedInput                   one input is unusable: the reason goes to rejects.jsonl
"""

from __future__ import annotations

from typing import Any


class FmrgbError(Exception):
    """Base of every error this package raises on purpose. All can be sent between processes."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Rebuild from message and fields; pickle's own way would call `__init__` without them."""
        return _rebuilt, (type(self), self.args), self.__dict__


class ConfigError(FmrgbError, ValueError):
    """A setting that cannot work."""


class MissingExtraError(FmrgbError, ImportError):
    """An optional library is needed for what was asked."""

    def __init__(self, library: str, extra: str, purpose: str) -> None:
        """Name the library, the extra that brings it, and what it was needed for."""
        super().__init__(
            f"{purpose} needs {library!r}, which is not installed: "
            f"pip install 'fmrgb_stream[{extra}]'"
        )


class StorageError(FmrgbError):
    """Bytes could not be had; `url` says which."""

    def __init__(self, message: str, *, url: str) -> None:
        """Keep the URL beside the message."""
        super().__init__(f"{message} [{url}]")
        self.url = url


class ShardNotFound(StorageError):
    """No such file or object."""


class AccessDenied(StorageError):
    """The object is there, but not for these credentials."""


class DatasetError(FmrgbError):
    """The dataset is not what its manifest says."""


class ManifestError(DatasetError):
    """manifest.json is missing, malformed, or of another schema version."""


class ShardCorrupt(DatasetError):
    """A member's checksum or size differs from the index."""


class SampleError(FmrgbError):
    """One sample cannot be used."""

    def __init__(self, message: str, *, shard: str, key: str) -> None:
        """Keep where the sample lives beside the message."""
        super().__init__(f"{message} [sample {key!r} of {shard}]")
        self.shard = shard
        self.key = key


class DecodeError(SampleError):
    """The codec refused the sample, or it holds another number of frames than the index says."""


class DeviceError(FmrgbError):
    """The GPU cannot be used by this process any more, whatever the data."""


class WorkerDied(FmrgbError):
    """A decode process has crashed or was killed."""


class TooManyBadSamples(FmrgbError):
    """More samples failed than `max_bad_fraction` allows."""


class StateMismatch(FmrgbError):
    """A saved loader state belongs to other data or settings."""


class LoaderClosed(FmrgbError):
    """The loader was used after close()."""


class PackError(FmrgbError):
    """Packing as a whole cannot go on."""


class SourceError(PackError):
    """The source folder or table is unusable."""


class RejectedInput(PackError):
    """One input is unusable; `reason` goes to rejects.jsonl."""

    def __init__(self, reason: str) -> None:
        """Keep the reason as it will be reported."""
        super().__init__(reason)
        self.reason = reason


def _rebuilt(kind: type[FmrgbError], values: tuple[Any, ...]) -> FmrgbError:
    return kind.__new__(kind, *values)
