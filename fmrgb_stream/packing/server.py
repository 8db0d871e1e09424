"""Imported by the server process that packing processes are forked from, before anything else.

It does its work by being imported: that is all a fork server can be told to do. Each process packs
on one core, so numpy's threads would only wait for each other; their number is read when numpy is
loaded, hence the order in here.
"""

from __future__ import annotations

import os
import signal
from importlib import import_module
from typing import Final

ONE_THREAD: Final = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
NEEDED: Final = (
    "fmrgb_stream.packing.build",
    "fmrgb_stream.pipelines.cpu.alone",
    "pyarrow.compute",
)
"""What the processes will use; forks find it loaded."""

# Ctrl-C in a terminal reaches every process of a group; the packer ends this one.
signal.signal(signal.SIGINT, signal.SIG_IGN)
os.environ.update(dict.fromkeys(ONE_THREAD, "1"))
for _name in NEEDED:
    import_module(_name)
