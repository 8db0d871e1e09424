"""URL -> bytes."""

from fmrgb_stream.storage.counts import NOTHING_READ, ReadCounts, ReadMeter
from fmrgb_stream.storage.store import Store

__all__ = ["NOTHING_READ", "ReadCounts", "ReadMeter", "Store"]
