"""WebDataset + torchcodec on tars of the source files: see `tar_streams.py`, `source_sound.py`."""

from __future__ import annotations

from typing import Final

from benchmarks.throughput.contract import Contestant
from benchmarks.throughput.peers.decoders import torchcodec_pictures
from benchmarks.throughput.peers.libraries import torchcodec_decoders
from benchmarks.throughput.peers.tar_streams import WebDatasetPeer

CONTESTANT: Final[Contestant] = WebDatasetPeer(
    name="WebDataset + torchcodec, sources",
    decode=torchcodec_pictures,
    load=torchcodec_decoders,
    reads="derived",
)
