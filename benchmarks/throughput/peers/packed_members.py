"""The packed tars -> (key, video bytes, FLAC bytes), for peers that store them in another format."""

from __future__ import annotations

import shutil
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.throughput.contract import BenchData


def packed_members(data: BenchData) -> Iterator[tuple[str, bytes, bytes]]:
    """Every sample of the train split, in tar order."""
    for path in sorted((data.packed / "train").glob("*.tar")):
        members: dict[str, bytes] = {}
        with tarfile.open(path) as tar:
            for member in tar:
                file = tar.extractfile(member)
                if file is not None:
                    members[member.name] = file.read()
        for name, video in members.items():
            key, _, extension = name.partition(".")
            if extension == "mp4":
                yield key, video, members[f"{key}.flac"]


def made_once(folder: Path, make: Callable[[Path], None]) -> Path:
    """`folder`, after `make` has filled it; a folder that is there is whole and kept."""
    if not folder.is_dir():
        unfinished = folder.with_name(f"{folder.name}.unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        make(unfinished)
        unfinished.rename(folder)
    return folder
