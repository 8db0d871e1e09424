"""Folders of videos -> datasets, and the proof that a dataset is whole.

Names load their modules when first used: packing processes need no verifier, and start while the
caller is still loading the rest.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fmrgb_stream.packing.build import pack
    from fmrgb_stream.packing.findings import Finding, VerifyReport
    from fmrgb_stream.packing.index_dataset import IndexReport, index
    from fmrgb_stream.packing.publish import PackReport
    from fmrgb_stream.packing.repair import RepairReport, repair
    from fmrgb_stream.packing.verify_dataset import verify

__all__ = [
    "Finding",
    "IndexReport",
    "PackReport",
    "RepairReport",
    "VerifyReport",
    "index",
    "pack",
    "repair",
    "verify",
]

_HOMES = {
    "Finding": "findings",
    "IndexReport": "index_dataset",
    "PackReport": "publish",
    "RepairReport": "repair",
    "VerifyReport": "findings",
    "index": "index_dataset",
    "pack": "build",
    "repair": "repair",
    "verify": "verify_dataset",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
