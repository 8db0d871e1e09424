"""Samples -> the clips that every contestant has to make, kept in files.

Beside each clip stand its pictures one source frame earlier and one later: a contestant whose
frames are shifted resembles one of these more.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from benchmarks.throughput.contract import BenchClip, BenchData
from benchmarks.throughput.results import Form
from fmrgb_stream.distributed import usable_cores
from fmrgb_stream.shards import Manifest, ShardReader
from fmrgb_stream.storage import Store

if TYPE_CHECKING:
    from numpy.typing import NDArray

_KEYS: Final = "keys.json"

Told = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceClip:
    """What a clip has to look like."""

    clip_CTHW: NDArray[np.uint8]
    """[5, T, H, W]."""
    early_CTHW: NDArray[np.uint8]
    """[3, T, H, W]: one source frame earlier."""
    late_CTHW: NDArray[np.uint8]
    """[3, T, H, W]: one source frame later."""


class References:
    """Reference clips by key, read when asked for."""

    def __init__(self, folder: Path) -> None:
        """Open what `make_references` wrote."""
        self._folder = folder
        keys = json.loads((folder / _KEYS).read_text(encoding="utf-8"))
        self._row_of = {key: row for row, key in enumerate(keys)}

    @property
    def keys(self) -> frozenset[str]:
        """Of all samples."""
        return frozenset(self._row_of)

    def __getitem__(self, key: str) -> ReferenceClip:
        """One clip."""
        with np.load(self._folder / f"{self._row_of[key]:06d}.npz") as file:
            return ReferenceClip(
                clip_CTHW=file["clip"], early_CTHW=file["early"], late_CTHW=file["late"]
            )


def make_references(data: BenchData, clip: BenchClip, *, form: Form, told: Told) -> Path:
    """The folder of the reference clips of the packed or the source videos, made unless there.

    The sound is the packed one for both: no contestant may hear anything else.
    """
    clip = replace(clip, planes="fmrgb")
    here = Path(__file__)
    shapes = f"{clip}".encode() + here.read_bytes() + here.with_name("recipe.py").read_bytes()
    name = f"{form}-{hashlib.sha256(shapes).hexdigest()[:12]}"
    folder = data.packed.parent / "references" / name
    if (folder / _KEYS).is_file():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    make = partial(_make_one, data, clip, form, folder)
    keys: list[str] = []
    with ProcessPoolExecutor(usable_cores(), mp_context=get_context("spawn")) as pool:
        for key in pool.map(make, range(data.num_samples)):
            keys.append(key)
            told("making reference clips", len(keys), data.num_samples)
    (folder / _KEYS).write_text(json.dumps(keys), encoding="utf-8")
    return folder


def _make_one(data: BenchData, clip: BenchClip, form: Form, folder: Path, sample_id: int) -> str:
    """Write one sample's reference; its key."""
    # Here, because it loads torch, which those who only read references need not wait for.
    from benchmarks.throughput import recipe

    store = Store(data.packed)
    sample = ShardReader(store, Manifest.load(store).split("train")).read(sample_id)
    assert sample.video is not None
    assert sample.audio is not None
    source = data.sources / f"{sample.info.key}.mp4"
    video = bytes(sample.video) if form == "packed" else source.read_bytes()
    num_frames = sample.info.num_frames
    # Every source frame of the clip, with one more at either end.
    every = replace(
        clip,
        num_frames=(clip.num_frames - 1) * clip.frame_stride + 3,
        frame_stride=1,
        planes="rgb",
    )
    wanted, found = (recipe.centre_window(num_frames, each).frames for each in (clip, every))
    makes = partial(
        recipe.reference_clip,
        video,
        bytes(sample.audio),
        num_frames=num_frames,
        fps=sample.info.fps,
    )
    every_CTHW, place = makes(clip=every), np.searchsorted(found, wanted)
    np.savez(
        folder / f"{sample_id:06d}.npz",
        clip=makes(clip=clip),
        early=every_CTHW[:, np.maximum(place - 1, 0)],
        late=every_CTHW[:, np.minimum(place + 1, len(found) - 1)],
    )
    return sample.info.key
