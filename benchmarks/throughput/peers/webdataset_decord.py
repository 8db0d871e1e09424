"""WebDataset + decord, the usual pair: see `tar_streams.py` and `decoders.decord_pictures`."""

from __future__ import annotations

from functools import partial
from typing import Final

from benchmarks.throughput.contract import Contestant
from benchmarks.throughput.peers.decoders import decord_pictures
from benchmarks.throughput.peers.libraries import library
from benchmarks.throughput.peers.tar_streams import WebDatasetPeer

CONTESTANT: Final[Contestant] = WebDatasetPeer(
    name="WebDataset + decord", decode=decord_pictures, load=partial(library, "decord")
)
