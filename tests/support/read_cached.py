"""A process that reads one object through a node's cache.

Run as `python -m tests.support.read_cached URL PATH FOLDER`; prints `started`, then the sha256 of
what it read and the bytes it fetched itself.
"""

import hashlib
import sys
from pathlib import Path

from fmrgb_stream.storage import CacheSettings, Store


def main(url, path, folder):
    sys.stdout.write("started\n")
    sys.stdout.flush()
    store = Store(url, cache=CacheSettings(folder=Path(folder)))
    content = store.read_range(path, start=0, length=store.size(path))
    sys.stdout.write(f"{hashlib.sha256(content).hexdigest()} {store.counts().num_bytes}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
