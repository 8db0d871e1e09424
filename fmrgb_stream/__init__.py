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
        DataConfig,
        FlowConfig,
        LoaderConfig,
        MelConfig,
        ModelConfig,
        PackConfig,
        RecordConfig,
        RunConfig,
        TrainConfig,
    )
    from fmrgb_stream.distributed import WorldInfo
    from fmrgb_stream.errors import FmrgbError
    from fmrgb_stream.loader import ClipLoader, build_loader
    from fmrgb_stream.models import (
        ClipModel,
        ModelCost,
        cost_table,
        create_model,
        list_models,
        model_cost,
        model_inputs,
    )
    from fmrgb_stream.packing import pack, verify
    from fmrgb_stream.sample import ClipBatch, EncodedSample
    from fmrgb_stream.shards import Manifest, open_sample
    from fmrgb_stream.training import (
        Evaluation,
        LoadedRun,
        Loaders,
        RunResult,
        TrainResult,
        evaluate,
        load_run,
        open_loader,
        train,
        train_run,
    )

__version__ = "0.1.0"

__all__ = [
    "CHANNELS",
    "ClipBatch",
    "ClipConfig",
    "ClipLoader",
    "ClipModel",
    "DataConfig",
    "EncodedSample",
    "Evaluation",
    "FlowConfig",
    "FmrgbError",
    "LoadedRun",
    "LoaderConfig",
    "Loaders",
    "Manifest",
    "MelConfig",
    "ModelConfig",
    "ModelCost",
    "PackConfig",
    "RecordConfig",
    "RunConfig",
    "RunResult",
    "TrainConfig",
    "TrainResult",
    "WorldInfo",
    "build_loader",
    "cost_table",
    "create_model",
    "evaluate",
    "list_models",
    "load_run",
    "model_cost",
    "model_inputs",
    "open_loader",
    "open_sample",
    "pack",
    "train",
    "train_run",
    "verify",
]

_HOMES = {
    "CHANNELS": "channels",
    "ClipBatch": "sample",
    "ClipConfig": "config",
    "ClipLoader": "loader",
    "ClipModel": "models",
    "DataConfig": "config",
    "EncodedSample": "sample",
    "Evaluation": "training",
    "FlowConfig": "config",
    "FmrgbError": "errors",
    "LoadedRun": "training",
    "LoaderConfig": "config",
    "Loaders": "training",
    "Manifest": "shards",
    "MelConfig": "config",
    "ModelConfig": "config",
    "ModelCost": "models",
    "PackConfig": "config",
    "RecordConfig": "config",
    "RunConfig": "config",
    "RunResult": "training",
    "TrainConfig": "config",
    "TrainResult": "training",
    "WorldInfo": "distributed",
    "build_loader": "loader",
    "cost_table": "models",
    "create_model": "models",
    "evaluate": "training",
    "list_models": "models",
    "load_run": "training",
    "model_cost": "models",
    "model_inputs": "models",
    "open_loader": "training",
    "open_sample": "shards",
    "pack": "packing",
    "train": "training",
    "train_run": "training",
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
