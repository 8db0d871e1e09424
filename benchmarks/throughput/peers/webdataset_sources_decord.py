"""WebDataset + decord on tars of the source files: see `tar_streams.py`, `source_sound.py`."""

from __future__ import annotations

from functools import partial
from typing import Final

from benchmarks.throughput.contract import Contestant
from benchmarks.throughput.peers.decoders import decord_pictures
from benchmarks.throughput.peers.libraries import library
from benchmarks.throughput.peers.tar_streams import WebDatasetPeer

CONTESTANT: Final[Contestant] = WebDatasetPeer(
    name="WebDataset + decord, sources",
    decode=decord_pictures,
    load=partial(library, "decord"),
    reads="derived",
)
