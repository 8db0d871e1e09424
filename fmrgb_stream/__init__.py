"""fmrgb_stream: videos with sound -> tar shards -> synchronised FMRGB clips -> trained models.

    import fmrgb_stream as fs

    fs.pack("videos/", "dataset/")
    with fs.build_loader("dataset/", split="train", batch_size=32) as loader:
        for batch in loader:
            batch.clip      # uint8 [B, 5, T, H, W]: red, green, blue, flow, mel

Names load their modules when first used, so importing the package is quick.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fmrgb_stream.channels import CHANNELS
    from fmrgb_stream.config import (
        ClipConfig,
        FlowConfig,
        IndexConfig,
        LoaderConfig,
        MelConfig,
        PackConfig,
    )
    from fmrgb_stream.distributed import WorldInfo
    from fmrgb_stream.errors import FmrgbError
    from fmrgb_stream.loader import ClipLoader, build_loader
    from fmrgb_stream.models import create_model, list_models
    from fmrgb_stream.packing import index, pack, repair, verify
    from fmrgb_stream.sample import ClipBatch, EncodedSample
    from fmrgb_stream.shards import Manifest, open_sample

__version__ = "0.1.0"

__all__ = [
    "CHANNELS",
    "ClipBatch",
    "ClipConfig",
    "ClipLoader",
    "EncodedSample",
    "FlowConfig",
    "FmrgbError",
    "IndexConfig",
    "LoaderConfig",
    "Manifest",
    "MelConfig",
    "PackConfig",
    "WorldInfo",
    "build_loader",
    "create_model",
    "index",
    "list_models",
    "open_sample",
    "pack",
    "repair",
    "verify",
]

_HOMES = {
    "CHANNELS": "channels",
    "ClipBatch": "sample",
    "ClipConfig": "config",
    "ClipLoader": "loader",
    "EncodedSample": "sample",
    "FlowConfig": "config",
    "FmrgbError": "errors",
    "IndexConfig": "config",
    "LoaderConfig": "config",
    "Manifest": "shards",
    "MelConfig": "config",
    "PackConfig": "config",
    "WorldInfo": "distributed",
    "build_loader": "loader",
    "create_model": "models",
    "index": "packing",
    "list_models": "models",
    "open_sample": "shards",
    "pack": "packing",
    "repair": "packing",
    "verify": "packing",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
