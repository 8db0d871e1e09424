"""Rows of Outcomes -> small pictures of those clips: frames to the right, kinds of planes down."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import matplotlib as mpl
import numpy as np
from PIL import Image

from fmrgb_stream.channels import FLOW_PLANES, MEL, PICTURE_PLANES, RGB_PLANES
from fmrgb_stream.clips.windows import windows_by_shard
from fmrgb_stream.distributed import WorldInfo
from fmrgb_stream.training.build import open_loader

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fmrgb_stream.pipelines.choice import Backend
    from fmrgb_stream.sample import ClipBatch
    from fmrgb_stream.training.outcomes import Outcomes
    from fmrgb_stream.training.shown import Shown

log = logging.getLogger(__name__)

_FRAMES: Final = 6
_FRAME_PIXELS: Final = 96
"""Width of a frame in the picture."""
_COLOUR_MAPS: Final = {MEL: "magma", "flow": "viridis", "flow_u": "coolwarm", "flow_v": "coolwarm"}


def clip_pictures(shown: Shown, outcomes: Outcomes) -> Iterator[bytes]:
    """A JPEG for each row, in order. Reads just those clips; call it in one process.

    Args:
        shown: What the outcomes were asked of.
        outcomes: The rows that are wanted.
    """
    # One clip at a time needs no GPU, but the flow of its own hardware.
    backend: Backend = "cpu"
    device = "cpu"
    if shown.clip.flow.estimator == "nvof":
        backend, device = "auto", shown.device
        log.info("the pictures of clips are made on %s, which has the flow estimator nvof", device)
    config = replace(
        shown.config,
        data=replace(shown.config.data, batch_size=1, prefetch_batches=1, backend=backend),
        clip=replace(shown.clip, dtype="uint8"),
    )
    first_items = _first_items(shown, outcomes.split)
    with open_loader(config, outcomes.split, device=device, world=WorldInfo()) as loader:
        for sample, window in zip(outcomes.sample_ids, outcomes.window_indices, strict=True):
            position = int(first_items[sample] + window)
            loader.load_state_dict(loader.state_dict() | {"epoch": 0, "position": position})
            yield picture_of(next(iter(loader)))


def picture_of(batch: ClipBatch) -> bytes:
    """JPEG of the first clip of a batch of uint8 clips."""
    planes = dict(zip(batch.channels, batch.clip[0].cpu().numpy(), strict=True))
    num_valid = max(1, int(batch.num_valid_frames[0]))
    frames = np.linspace(0, num_valid - 1, min(_FRAMES, num_valid)).round().astype(int)
    strips = [np.concatenate([row[i] for i in frames], axis=1) for row in _rows(planes)]
    sheet = Image.fromarray(np.concatenate(strips, axis=0))
    width = _FRAME_PIXELS * len(frames)
    height = round(sheet.height * width / sheet.width)
    content = io.BytesIO()
    sheet.resize((width, height), Image.Resampling.BILINEAR).save(content, "JPEG", quality=88)
    return content.getvalue()


def row_names(planes: Sequence[str]) -> list[str]:
    """What the rows of a picture show."""
    picture = [name for name in PICTURE_PLANES if name in planes]
    has_colour = all(name in planes for name in RGB_PLANES)
    others = [name for name in (*FLOW_PLANES, MEL) if name in planes]
    return [*(["the picture"] if has_colour else picture), *others]


def _rows(planes: dict[str, NDArray[np.uint8]]) -> list[NDArray[np.uint8]]:
    """uint8 [T, H, W, 3] each: the picture, then motion and sound in colours of their own."""
    rows: list[NDArray[np.uint8]] = []
    rgb = [planes[name] for name in RGB_PLANES if name in planes]
    if len(rgb) == len(RGB_PLANES):
        rows.append(np.stack(rgb, axis=-1))
    else:
        single = [name for name in PICTURE_PLANES if name in planes]
        rows += [np.repeat(planes[name][..., None], 3, axis=-1) for name in single]
    for name in (*FLOW_PLANES, MEL):
        if name in planes:
            shades: Any = mpl.colormaps[_COLOUR_MAPS[name]](np.arange(256))
            rows.append((255 * shades[:, :3]).round().astype(np.uint8)[planes[name]])
    return rows


def _first_items(shown: Shown, split: str) -> NDArray[np.int64]:
    """int64 [N]: the place of each sample's first clip in the split's order."""
    reader = shown.reader(split)
    if not shown.clip.has_many_windows:
        return np.arange(reader.num_samples, dtype=np.int64)
    counts = np.concatenate(windows_by_shard(reader, shown.clip))
    return np.cumsum(counts) - counts
