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
    from fmrgb_stream.packing.publish import PackReport
    from fmrgb_stream.packing.repair import RepairReport, repair
    from fmrgb_stream.packing.verify_dataset import verify

__all__ = [
    "Finding",
    "PackReport",
    "RepairReport",
    "VerifyReport",
    "pack",
    "repair",
    "verify",
]

_HOMES = {
    "Finding": "findings",
    "PackReport": "publish",
    "RepairReport": "repair",
    "VerifyReport": "findings",
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
