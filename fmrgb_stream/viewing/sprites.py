"""Planes -> pictures of all frames side by side, as bytes of PNG or WebP files.

Planes go into palette PNGs: a pixel's palette index is the plane's own value, 0..255, and the
palette says with which colour it is shown. So nothing is lost, whatever the colours.

Shape legend: T frames, H height, W width.
"""

from __future__ import annotations

import base64
import colorsys
import io
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final

import numpy as np
from PIL import Image

from fmrgb_stream.channels import FLOW, FLOW_SPAN_UV, FLOW_U, FLOW_V, FLOW_ZERO_UV, FULL_SCALE, MEL

if TYPE_CHECKING:
    from numpy.typing import NDArray

_MAX_SIDE_PIXELS: Final = 16000
"""Below what WebP files (16383) and browsers take."""
_WEBP_QUALITY: Final = 88
_COLOUR_MAPS: Final = {FLOW: "viridis", FLOW_U: "coolwarm", FLOW_V: "coolwarm", MEL: "magma"}
"""Perceptually uniform for amounts, diverging for signed flow; all other planes are grey."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sprite:
    """A picture file that holds frames in rows of `num_columns`, from the top left on."""

    content: bytes
    media_type: str
    num_columns: int
    num_rows: int


def colour_sprite(frames_THW3: NDArray[np.uint8]) -> Sprite:
    """Colour pictures, slightly lossy."""
    return _sprite(Image.fromarray, frames_THW3, "webp")


def plane_sprite(plane_THW: NDArray[np.uint8], name: str) -> Sprite:
    """One plane without loss, in the colours that suit it."""
    return _sprite(lambda sheet: in_palette(sheet, name), plane_THW, "png")


def plane_picture(values_HW: NDArray[np.uint8], name: str) -> bytes:
    """One picture of a plane, as PNG."""
    return _encoded(in_palette(values_HW, name), "png")


def flow_colours(
    u_THW: NDArray[np.uint8], v_THW: NDArray[np.uint8], *, max_pixels: float
) -> tuple[NDArray[np.uint8], float]:
    """(uint8 [T, H, W, 3], pixels that shine fully): direction as hue, distance as brightness.

    To the right is red, down is yellow-green, left is cyan, up is violet. Full brightness is the
    motion that 99 of 100 moving pixels stay below, so that slow scenes can be seen; at least one pixel.
    """
    unit = max_pixels / FLOW_SPAN_UV
    u = (u_THW.astype(np.float32) - FLOW_ZERO_UV) * unit
    v = (v_THW.astype(np.float32) - FLOW_ZERO_UV) * unit
    distance = np.hypot(u, v)
    moving = distance[distance > unit]
    full_pixels = max(1.0, float(np.percentile(moving, 99))) if moving.size else 1.0
    turn = np.rint(np.arctan2(v, u) / (2 * np.pi) * 256).astype(np.int64) % 256
    brightness = np.minimum(distance / full_pixels, 1.0)[..., None]
    return np.rint(_hues()[turn] * brightness).astype(np.uint8), full_pixels


def data_uri(content: bytes, media_type: str) -> str:
    """The bytes as a URL that needs no network."""
    return f"data:{media_type};base64,{base64.b64encode(content).decode('ascii')}"


def _sprite(
    draw: Callable[[NDArray[np.uint8]], Image.Image], frames: NDArray[np.uint8], file_format: str
) -> Sprite:
    num_frames, height, width = frames.shape[:3]
    num_columns = min(num_frames, max(1, _MAX_SIDE_PIXELS // width))
    num_rows = -(-num_frames // num_columns)
    missing = num_rows * num_columns - num_frames
    padded = np.concatenate([frames, np.zeros((missing, *frames.shape[1:]), np.uint8)])
    grid = padded.reshape(num_rows, num_columns, height, width, *frames.shape[3:])
    sheet = grid.swapaxes(1, 2).reshape(num_rows * height, num_columns * width, *frames.shape[3:])
    return Sprite(
        content=_encoded(draw(sheet), file_format),
        media_type=f"image/{file_format}",
        num_columns=num_columns,
        num_rows=num_rows,
    )


def _encoded(picture: Image.Image, file_format: str) -> bytes:
    buffer = io.BytesIO()
    if file_format == "webp":
        picture.save(buffer, "webp", quality=_WEBP_QUALITY, method=4)
    else:
        picture.save(buffer, "png", compress_level=9)
    return buffer.getvalue()


def in_palette(values_HW: NDArray[np.uint8], name: str) -> Image.Image:
    """One picture of a plane: pixels are its values, the palette is the plane's colours."""
    picture = Image.fromarray(values_HW).convert("L")
    picture = Image.frombytes("P", picture.size, picture.tobytes())
    picture.putpalette(palette(name))
    return picture


@lru_cache(maxsize=8)
def palette(name: str) -> bytes:
    """768 bytes: red, green, blue of the values 0..255 of a plane."""
    import matplotlib as mpl

    colours = mpl.colormaps[_COLOUR_MAPS.get(name, "gray")](np.arange(FULL_SCALE + 1))
    return np.rint(np.asarray(colours)[:, :3] * FULL_SCALE).astype(np.uint8).tobytes()


@lru_cache(maxsize=1)
def _hues() -> NDArray[np.float64]:
    """float64 [256, 3] in 0..255: the colours of a full turn, from red on."""
    return FULL_SCALE * np.array([colorsys.hsv_to_rgb(k / 256, 1, 1) for k in range(256)])
