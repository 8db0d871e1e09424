"""ClipBatches and a model -> a trained model, its metrics and its report."""

from fmrgb_stream.config import TrainConfig
from fmrgb_stream.training.ablation import AblationRow, run_ablation
from fmrgb_stream.training.build import build_model, eval_clip, open_loader, read_manifest
from fmrgb_stream.training.experiment import RunResult, train_run
from fmrgb_stream.training.records import EpochRecord, Evaluation, TrainResult
from fmrgb_stream.training.run_directory import LoadedRun, RunDirectory, RunFacts, load_run
from fmrgb_stream.training.trainer import Loaders, evaluate, train

__all__ = [
    "AblationRow",
    "EpochRecord",
    "Evaluation",
    "LoadedRun",
    "Loaders",
    "RunDirectory",
    "RunFacts",
    "RunResult",
    "TrainConfig",
    "TrainResult",
    "build_model",
    "eval_clip",
    "evaluate",
    "load_run",
    "open_loader",
    "read_manifest",
    "run_ablation",
    "train",
    "train_run",
]
