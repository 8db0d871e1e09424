"""Where a node keeps what remote roots sent: the folder that was named, or one for sidecars alone."""

from __future__ import annotations

import os
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast

from fmrgb_stream.errors import ConfigError

DEFAULT_CACHE_BYTES: Final = 64 << 30
SIDECAR_CACHE_BYTES: Final = 1 << 30
_NETWORK_KINDS: Final = ("nfs", "cifs", "smb", "fuse.sshfs", "9p", "ceph", "lustre", "gpfs")


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheSettings:
    """What is kept of remote roots, for all processes of a node."""

    folder: Path | None = None
    """For shards and sidecars; None keeps sidecars only, in a private folder for temporary files."""
    max_bytes: int = DEFAULT_CACHE_BYTES

    @classmethod
    def of(cls, folder: str | os.PathLike[str] | None, max_bytes: int) -> CacheSettings:
        """The settings for a folder as a user names it; None is no cache of shards."""
        path = None if folder is None else Path(folder).expanduser().absolute()
        return cls(folder=path, max_bytes=max_bytes)

    def __post_init__(self) -> None:
        """Check the size.

        Raises:
            ConfigError: it is no positive number of bytes.
        """
        if not isinstance(cast("object", self.max_bytes), int) or self.max_bytes < 1:
            raise ConfigError(
                f"cache_bytes={self.max_bytes!r} must be a whole number of bytes, at least 1"
            )


def prepared_folder(folder: Path) -> Path:
    """The folder of a cache, made where it is missing, with locks that work.

    Raises:
        ConfigError: it cannot be made or written to, or lies on a network file system.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        is_writable = os.access(folder, os.W_OK | os.X_OK)
    except OSError as error:
        raise ConfigError(f"cache_dir={str(folder)!r} cannot be made: {error.strerror}") from error
    if not is_writable:
        raise ConfigError(f"cache_dir={str(folder)!r} cannot be written to; choose another folder")
    kind = _filesystem(folder)
    if kind.startswith(_NETWORK_KINDS):
        raise ConfigError(
            f"cache_dir={str(folder)!r} lies on {kind}, whose locks and speed do not suit a cache; "
            "choose a folder on a disk of this machine"
        )
    return folder


def sidecar_folder() -> Path | None:
    """A private folder of this user for sidecars; None where there can be none."""
    folder = Path(tempfile.gettempdir()) / f"fmrgb-stream-{os.getuid()}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
    except OSError:
        return None
    # In a folder that everybody can write to, somebody else may have made it first.
    is_ours = stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid()
    if not is_ours or stat.S_IMODE(found.st_mode) & 0o077:
        return None
    return None if _filesystem(folder).startswith(_NETWORK_KINDS) else folder


def _filesystem(folder: Path) -> str:
    """The kind of file system that holds a folder; empty where the system does not tell."""
    try:
        mounts = Path("/proc/mounts").read_text().splitlines()
    except OSError:
        return ""
    resolved, best, kind = folder.resolve(), -1, ""
    for line in mounts:
        _, place, found = line.split()[:3]
        point = Path(place.replace("\\040", " "))
        depth = len(point.parts)
        if depth > best and resolved.is_relative_to(point):
            best, kind = depth, found
    return kind
