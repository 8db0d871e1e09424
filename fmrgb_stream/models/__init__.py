"""ClipBatch.clip -> logits: video models built by name on timm's image backbones."""

from fmrgb_stream.models.registry import ClipModel, create_model, list_models
from fmrgb_stream.models.timm_names import register_with_timm

__all__ = ["ClipModel", "create_model", "list_models", "register_with_timm"]

register_with_timm()
