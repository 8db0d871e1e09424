"""ClipBatch.clip -> logits: video models built by name, most of them on timm's image backbones."""

from fmrgb_stream.models.checkpoints import load_checkpoint
from fmrgb_stream.models.costs import ModelCost, cost_table, model_cost
from fmrgb_stream.models.interface import ClipModel, model_inputs
from fmrgb_stream.models.registry import create_model, list_models
from fmrgb_stream.models.timm_names import register_with_timm

__all__ = [
    "ClipModel",
    "ModelCost",
    "cost_table",
    "create_model",
    "list_models",
    "load_checkpoint",
    "model_cost",
    "model_inputs",
    "register_with_timm",
]

register_with_timm()
