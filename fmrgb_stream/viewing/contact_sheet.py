"""ClipView -> contact sheet: a row a channel, a column a frame, the time above each column.

Shape legend: T frames, H height, W width.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from fmrgb_stream.channels import RGB_PLANES
from fmrgb_stream.viewing.sprites import in_palette

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fmrgb_stream.viewing.clip_view import ClipView

_CELL_PIXELS: Final = (112, 256)
"""Pictures narrower than the first are enlarged by a whole number, wider than the second shrunk."""
_GAP_PIXELS: Final = 6
_TEXT_PIXELS: Final = 15
_PAPER: Final = (255, 255, 255)
_INK: Final = (30, 34, 40)


def draw_contact_sheet(view: ClipView, *, title: str, num_frames: int = 8) -> Image.Image:
    """The clip's channels in its order, below the colour picture where red, green and blue are there.

    `num_frames` of the frames are shown, evenly spread; those that a length rule repeated or padded
    are not.
    """
    count = min(num_frames, view.num_valid_frames)
    frames = np.linspace(0, view.num_valid_frames - 1, count).round().astype(int)
    rows = _rows(view, frames)
    width, height = rows[0][1][0].size
    font = ImageFont.load_default(_TEXT_PIXELS)
    times = [f"{view.times_seconds_T[frame]:.3f} s" for frame in frames]
    left = 2 * _GAP_PIXELS + round(max(font.getlength(name) for name, _ in rows))
    # Letters on narrow pictures would run into each other.
    step_x = _GAP_PIXELS + max(width, round(max(map(font.getlength, times))))
    step_y = height + _GAP_PIXELS
    top = 3 * _TEXT_PIXELS + 2 * _GAP_PIXELS
    sheet_width = max(left + count * step_x, round(font.getlength(title)) + 2 * _GAP_PIXELS)
    sheet = Image.new("RGB", (sheet_width, top + len(rows) * step_y), _PAPER)
    pen = ImageDraw.Draw(sheet)
    pen.text((_GAP_PIXELS, _GAP_PIXELS), title, _INK, font)
    for column, time in enumerate(times):
        middle = left + column * step_x + width / 2
        pen.text((middle, top - _GAP_PIXELS), time, _INK, font, anchor="mb")
    for row, (name, pictures) in enumerate(rows):
        y = top + row * step_y
        pen.text((left - _GAP_PIXELS, y + height / 2), name, _INK, font, anchor="rm")
        for column, picture in enumerate(pictures):
            sheet.paste(picture, (left + column * step_x, y))
    return sheet


def _rows(view: ClipView, frames: NDArray[np.int_]) -> list[tuple[str, list[Image.Image]]]:
    rows: list[tuple[str, list[Image.Image]]] = []
    if all(name in view.channels for name in RGB_PLANES):
        colour_THW3 = np.stack([view.plane(name)[frames] for name in RGB_PLANES], axis=-1)
        rows.append(("RGB", [Image.fromarray(frame) for frame in colour_THW3]))
    for name in view.channels:
        plane_THW = view.plane(name)[frames]
        rows.append((name, [in_palette(frame, name).convert("RGB") for frame in plane_THW]))
    return [(name, [_sized(picture) for picture in pictures]) for name, pictures in rows]


def _sized(picture: Image.Image) -> Image.Image:
    least, most = _CELL_PIXELS
    width, height = picture.size
    if width < least:
        times = -(-least // width)
        return picture.resize((times * width, times * height), Image.Resampling.NEAREST)
    if width > most:
        return picture.resize((most, max(1, round(height * most / width))))
    return picture
