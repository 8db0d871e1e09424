"""Bytes of a WebDataset tar -> its samples' members, in order, and DALI's index of them."""

from __future__ import annotations

import io
import re
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import google_crc32c

from fmrgb_stream.errors import DatasetError
from fmrgb_stream.sample import Member

# WebDataset's rule: the key ends at the first dot of the file's own name.
_NAME: Final = re.compile(r"((?:.*/)?[^./][^./]*)\.([^/]+)")
_DALI_VERSION: Final = "v1.2"


@dataclass(frozen=True, slots=True, kw_only=True)
class TarSample:
    """The members of one sample as they lie in the tar."""

    key: str
    members: tuple[Member, ...]

    def names(self) -> list[str]:
        """What the tar calls them."""
        return [f"{self.key}.{member.extension}" for member in self.members]


@dataclass(frozen=True, slots=True, kw_only=True)
class TarListing:
    """All that a tar holds."""

    samples: tuple[TarSample, ...]
    others: tuple[str, ...]
    """Names that are no member of any sample."""


def list_tar(content: bytes, *, url: str) -> TarListing:
    """Group neighbouring files of one key, as WebDataset does.

    Raises:
        DatasetError: not a whole, uncompressed tar.
    """
    samples: list[TarSample] = []
    others: list[str] = []
    for name, offset, size in _files(content, url):
        match = _NAME.fullmatch(name)
        if match is None or ".." in name.split("/") or name.startswith("/"):
            others.append(name)
            continue
        key, extension = match.groups()
        crc32c = google_crc32c.value(content[offset : offset + size])
        member = Member(extension=extension, offset=offset, size=size, crc32c=crc32c)
        if samples and samples[-1].key == key:
            samples[-1] = TarSample(key=key, members=(*samples[-1].members, member))
        else:
            samples.append(TarSample(key=key, members=(member,)))
    return TarListing(samples=tuple(samples), others=tuple(others))


def _files(content: bytes, url: str) -> Iterator[tuple[str, int, int]]:
    try:
        with tarfile.open(fileobj=io.BytesIO(content), mode="r:") as tar:
            for entry in tar:
                if entry.isfile():
                    if entry.offset_data + entry.size > len(content):
                        raise DatasetError(f"{url} is cut off inside {entry.name}; copy it again")
                    yield entry.name, entry.offset_data, entry.size
    except (tarfile.TarError, EOFError, ValueError) as error:
        raise DatasetError(
            f"{url} is not a whole, uncompressed tar: {error}; copy it again, or decompress it"
        ) from error


def dali_index(samples: Sequence[TarSample]) -> str:
    """The text of the `.idx` file of `fn.readers.webdataset`, as DALI's wds2idx writes it."""
    lines = [f"{_DALI_VERSION} {len(samples)}"]
    for sample in samples:
        parts = [
            f"{member.extension} {member.offset} {member.size} {name}"
            for member, name in zip(sample.members, sample.names(), strict=True)
        ]
        lines.append(" ".join(parts))
    return "\n".join(lines) + "\n"
