"""WebDataset + torchcodec: see `tar_streams.py` and `decoders.torchcodec_pictures`."""

from __future__ import annotations

from typing import Final

from benchmarks.throughput.contract import Contestant
from benchmarks.throughput.peers.decoders import torchcodec_pictures
from benchmarks.throughput.peers.libraries import torchcodec_decoders
from benchmarks.throughput.peers.tar_streams import WebDatasetPeer

CONTESTANT: Final[Contestant] = WebDatasetPeer(
    name="WebDataset + torchcodec",
    decode=torchcodec_pictures,
    load=torchcodec_decoders,
)
