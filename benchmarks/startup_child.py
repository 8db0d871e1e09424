"""A fresh process up to its first batch; started by startup.py, prints seconds as JSON.

Arguments: dataset root, and the monotonic clock when the parent started this process.
"""

from __future__ import annotations

import itertools
import json
import sys
import time
from typing import Any


def main(root: str, started: float) -> None:
    """Import, build, take one batch; each step on the clock."""
    marks = [("interpreter", started), ("import fmrgb_stream", time.monotonic())]
    import fmrgb_stream as fs

    marks.append(("build_loader: modules", time.monotonic()))
    build_loader: Any = fs.build_loader
    marks.append(("build_loader: call", time.monotonic()))
    with build_loader(root, batch_size=8, seed=0) as loader:
        marks.append(("first batch", time.monotonic()))
        next(iter(loader))
        marks.append(("end", time.monotonic()))
    steps = {name: after - at for (name, at), (_, after) in itertools.pairwise(marks)}
    print(json.dumps(steps | {"start to first batch": marks[-1][1] - started}))


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]))
