"""URL -> bytes.

A read passes through these files:
    1. store.py    one root, of whatever kind
    2. local.py    a folder: pread
       cached.py   a bucket: the node's cache (cache.py, eviction.py, places.py) or the server
    3. remote.py   parts of objects, pinned to one version
    4. retry.py    again, or a typed error
    5. client.py   obstore, and what its errors mean; urls.py says what to open
"""

from fmrgb_stream.storage.counts import NOTHING_READ, ReadCounts, ReadMeter
from fmrgb_stream.storage.places import CacheSettings
from fmrgb_stream.storage.store import Store

__all__ = ["NOTHING_READ", "CacheSettings", "ReadCounts", "ReadMeter", "Store"]
