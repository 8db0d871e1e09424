"""WebDataset + PyAV: see `tar_streams.py` and `decoders.PyavPictures`."""

from __future__ import annotations

from functools import partial
from typing import Final

from benchmarks.throughput.contract import Contestant
from benchmarks.throughput.peers.decoders import PyavPictures
from benchmarks.throughput.peers.libraries import library
from benchmarks.throughput.peers.tar_streams import WebDatasetPeer

CONTESTANT: Final[Contestant] = WebDatasetPeer(
    name="WebDataset + PyAV", decode=PyavPictures(), load=partial(library, "av")
)
