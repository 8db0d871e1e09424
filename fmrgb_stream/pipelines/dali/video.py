"""Encoded video or decoded frames -> pictures at clip size, as nodes of the DALI graph."""

from __future__ import annotations

from typing import Any

from fmrgb_stream.pipelines.dali.library import load_dali
from fmrgb_stream.pipelines.dali.settings import GraphSettings


def decoded_frames(columns: dict[str, Any], settings: GraphSettings) -> Any:
    """uint8 [N, h, w, 3] of the encoded video, at its own size.

    Every frame is decoded once and in rising order: DALI goes back to the file's first frame for
    one that comes twice or late.
    """
    return load_dali().fn.decoders.video(
        columns["video"],
        device="cpu" if settings.device_id is None else "mixed",
        frames=columns["frame_indices"],
        pad_mode="edge",
        affine=False,
    )


def given_frames(columns: dict[str, Any], settings: GraphSettings) -> Any:
    """uint8 [N, H, W, 3] that came decoded, at clip size."""
    return columns["pictures"] if settings.device_id is None else columns["pictures"].gpu()


def clip_pictures(frames: Any, columns: dict[str, Any], settings: GraphSettings) -> Any:
    """The frames of a clip in its order, uint8 [K, H, W, 3] RGB on the graph's device."""
    dali = load_dali()
    height, width = settings.clip.size
    resized = dali.fn.resize(
        frames,
        resize_x=width,
        resize_y=height,
        interp_type=dali.types.INTERP_LINEAR,
        antialias=True,
    )
    return dali.fn.sequence_rearrange(resized, new_order=columns["order"])
