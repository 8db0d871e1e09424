"""This machine and what is installed on it -> what stands beside every number."""

from __future__ import annotations

import datetime as dt
import platform
import re
from importlib import metadata
from pathlib import Path
from typing import Final

from fmrgb_stream.distributed import usable_cores

LIBRARIES: Final = (
    "fmrgb_stream",
    "av",
    "numpy",
    "opencv-python-headless",
    "torch",
    "webdataset",
    "decord",
    "litdata",
    "megatron-energon",
    "mosaicml-streaming",
    "nvidia-dali-cuda120",
    "nvidia-dali-cuda130",
    "soundfile",
    "spdl",
    "torchcodec",
)
"""Those whose versions matter for the speed."""


def environment() -> dict[str, str]:
    """Date, processor, cores, system, Python and library versions, by name."""
    return {
        "date": dt.datetime.now(dt.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "processor": processor_name(),
        "usable cores": str(usable_cores()),
        "memory": f"{_memory_gib():.0f} GiB",
        "system": f"{platform.system()}, {platform.machine()}",
        "python": platform.python_version(),
        **{name: version for name in LIBRARIES if (version := _version(name))},
    }


def results_stem() -> str:
    """`<date>-<cpu>`: how the files of a run begin."""
    today = dt.datetime.now(dt.UTC).date().isoformat()
    return f"{today}-{re.sub(r'[^a-z0-9]+', '-', processor_name().lower()).strip('-')}"


def processor_name() -> str:
    """As the system tells it."""
    cpuinfo = Path("/proc/cpuinfo")
    text = cpuinfo.read_text(encoding="utf-8") if cpuinfo.exists() else ""
    found = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return found[1].strip() if found else platform.processor() or platform.machine()


def _memory_gib() -> float:
    text = Path("/proc/meminfo").read_text(encoding="utf-8")
    found = re.search(r"^MemTotal:\s*(\d+) kB", text, re.MULTILINE)
    return int(found[1]) / 2**20 if found else 0.0


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""
