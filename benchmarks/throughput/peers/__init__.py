"""The peers, one a file; loaded by name, so that a missing library hurts only its own peer.

All peers make the planes with `benchmarks.throughput.recipe`; they differ in how they store, read,
decode, resize and batch. The libraries come with the extra `bench`; torchcodec and SPDL also need
FFmpeg's shared libraries (see `ffmpeg.py`).
"""

from __future__ import annotations

import importlib
from typing import Final

from benchmarks.throughput.contract import Contestant

PEERS: Final = (
    "webdataset_decord",
    "webdataset_torchcodec",
    "webdataset_pyav",
    "spdl_threads",
    "litdata_torchcodec",
    "mosaic_streaming",
    "energon",
    "dali_cpu_vp9",
    "torch_dataset_sources",
    "webdataset_sources_decord",
    "webdataset_sources_torchcodec",
    "webdataset_sources_pyav",
)
"""Module names; the last four read the source files, the others what `fmrgb pack` wrote."""


def load_peer(name: str) -> Contestant:
    """The contestant of one module of `PEERS`.

    Raises:
        ValueError: there is no such peer.
        MissingLibraryError: its library is not installed, or cannot be loaded.
    """
    if name not in PEERS:
        raise ValueError(f"no peer {name!r}; the peers are {list(PEERS)}")
    contestant: Contestant = importlib.import_module(f"{__name__}.{name}").CONTESTANT
    return contestant
