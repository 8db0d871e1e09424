"""Clip settings and device -> the flow estimator, by trying whether the GPU's engine works."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
import torch

from fmrgb_stream.config import ClipConfig
from fmrgb_stream.distributed import WorldInfo
from fmrgb_stream.errors import ConfigError
from fmrgb_stream.pipelines.dali.agree import can_agree, of_all_ranks
from fmrgb_stream.pipelines.dali.flow import engine_flow
from fmrgb_stream.pipelines.dali.library import load_dali
from fmrgb_stream.pipelines.dali.settings import DaliFlowEstimator

logger = logging.getLogger(__name__)
SHIFT_PIXELS: Final = 4
"""How far the pattern of the probe moves to the right."""
MIN_SHARE: Final = 0.5
"""Of the motion that the engine has to find to be trusted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowChoice:
    """How motion is estimated."""

    estimator: DaliFlowEstimator
    sign: int = 1
    """-1 where the engine's vectors point from the later picture to the earlier one."""


def choose_estimator(clip: ClipConfig, device: str, *, world: WorldInfo) -> FlowChoice:
    """The estimator for these settings on this device; the same one on every rank.

    The engine is taken where every rank has one that works; all ranks have to come here. Without a
    process group they cannot tell each other, and `auto` is `lucas_kanade`.

    Raises:
        ConfigError: `nvof` is asked for by name and does not work here or on another rank; says why.
    """
    asked = clip.flow.estimator
    if not clip.needs_flow or asked == "lucas_kanade":
        return FlowChoice(estimator="lucas_kanade")
    sign, problem = 0, _why_no_engine(clip, device)
    if not problem and asked == "auto" and not can_agree(world):
        problem = (
            "ranks have no process group yet to agree on the engine; set flow.estimator='nvof', or "
            "build the loader after the group"
        )
    elif not problem:
        sign, problem = probe_engine(clip.size, device)
    if can_agree(world):
        found = of_all_ranks((world.rank, problem), world)
        rank, problem = next((one for one in found if one[1]), (world.rank, ""))
        if rank != world.rank:
            problem = f"not on rank {rank}: {problem}"
    if not problem:
        return FlowChoice(estimator="nvof", sign=sign)
    if asked == "nvof":
        raise ConfigError(
            f"flow.estimator='nvof' does not work here: {problem}; use 'auto' or 'lucas_kanade'"
        )
    logger.info("flow is estimated by lucas_kanade: %s", problem)
    return FlowChoice(estimator="lucas_kanade")


def _why_no_engine(clip: ClipConfig, device: str) -> str:
    if device == "cpu":
        return "the optical flow engine is part of a GPU, and the device is 'cpu'"
    if clip.length_rule == "zoom":
        return "frames are blended after decoding with length_rule='zoom', behind the engine"
    return ""


@lru_cache(maxsize=8)
def probe_engine(size: tuple[int, int], device: str) -> tuple[int, str]:
    """(sign of its vectors, or 0 when it does not work; what is the matter).

    It is shown a pattern that moves to the right, in pictures of the clip's size: that tells
    whether driver, library and engine are there and take this size, and which way vectors point.
    """
    dali = load_dali()
    pictures_FHW3 = moving_pattern(size)

    @dali.pipeline_def(batch_size=1, num_threads=1, device_id=torch.device(device).index or 0)
    def probe() -> object:
        pictures = dali.fn.external_source(
            source=lambda: [pictures_FHW3], batch=True, layout="FHWC", dtype=dali.types.UINT8
        )
        return engine_flow(pictures.gpu())

    try:
        graph = probe()
        graph.build()
        flow_Fhw2 = np.asarray(graph.run()[0].as_cpu().at(0))
    except Exception as error:  # noqa: BLE001 - drivers, libraries and DALI fail in many ways
        return 0, f"the optical flow engine cannot be used for {size[1]}x{size[0]} pixels: {error}"
    return judge_engine(flow_Fhw2)


def judge_engine(flow_Fhw2: np.ndarray) -> tuple[int, str]:
    """What the engine's answer to `moving_pattern` says: see `probe_engine`."""
    rightward, downward = (float(np.median(flow_Fhw2[..., axis])) for axis in (0, 1))
    found = abs(rightward) / SHIFT_PIXELS
    if MIN_SHARE < found < 1 / MIN_SHARE and abs(downward) < SHIFT_PIXELS / 4:
        return (1 if rightward > 0 else -1), ""
    return 0, (
        f"shown a shift of {SHIFT_PIXELS} pixels to the right, the optical flow engine found "
        f"({rightward:.2f}, {downward:.2f})"
    )


def moving_pattern(size: tuple[int, int]) -> np.ndarray:
    """uint8 [2, H, W, 3]: smooth noise, and the same noise `SHIFT_PIXELS` to the right."""
    height, width = size
    noise = np.random.default_rng(0).random((height // 8 + 2, (width + SHIFT_PIXELS) // 8 + 2))
    coarse = torch.from_numpy(noise)[None, None]
    smooth = torch.nn.functional.interpolate(
        coarse, size=(height, width + SHIFT_PIXELS), mode="bicubic", align_corners=True
    )[0, 0]
    picture = (smooth.clamp(0, 1) * 255).to(torch.uint8).numpy()
    # What is at column SHIFT_PIXELS of the wide picture first is at column 0; then it was further left.
    first, second = picture[:, SHIFT_PIXELS:], picture[:, :width]
    return np.stack([first, second])[..., None].repeat(3, axis=-1)
