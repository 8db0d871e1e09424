"""ClipBatches and a model -> a trained model, its metrics and its report."""

from fmrgb_stream.training.ablation import AblationRow, run_ablation
from fmrgb_stream.training.config import TrainConfig
from fmrgb_stream.training.records import EpochRecord, Evaluation, TrainResult
from fmrgb_stream.training.trainer import Loaders, evaluate, train

__all__ = [
    "AblationRow",
    "EpochRecord",
    "Evaluation",
    "Loaders",
    "TrainConfig",
    "TrainResult",
    "evaluate",
    "run_ablation",
    "train",
]
