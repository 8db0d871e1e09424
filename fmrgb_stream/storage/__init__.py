"""URL -> bytes."""

from fmrgb_stream.storage.counts import ReadCounts, ReadMeter
from fmrgb_stream.storage.store import Store

__all__ = ["ReadCounts", "ReadMeter", "Store"]
