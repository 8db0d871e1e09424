"""Datasets of odd samples, and what a preview page holds, read without a browser."""

import base64
import io
import json
import re
from fractions import Fraction
from pathlib import Path

import numpy as np
import soundfile
from PIL import Image

from fmrgb_stream.config import PackConfig
from fmrgb_stream.packing import pack
from tests.support.media import Picture, Sound, numbered_frames, rotate_mov, tone, write_media

VARIABLE_TIMES = (0.0, 0.1, 0.15, 0.4, 0.45, 0.9, 1.0, 1.3)


def pack_odd(folder: Path) -> Path:
    """`mute` has no sound, `heard` no picture, `silent` sound of zeros; none has a label."""
    source = folder / "source"
    frames = numbered_frames(12, width=96, height=64)
    write_media(source / "mute.mp4", picture=Picture(frames, Fraction(10)))
    write_media(
        source / "silent.mp4",
        picture=Picture(frames, Fraction(10)),
        sound=Sound(np.zeros(57600, np.float32)),
    )
    soundfile.write(source / "heard.wav", tone(1000, 1.5, rate=16000), 16000)
    return packed(folder)


def pack_copied(folder: Path) -> Path:
    """Untouched sources: `variable` has frames at VARIABLE_TIMES, `turned` is stored on its side."""
    source = folder / "source"
    frames = numbered_frames(len(VARIABLE_TIMES), width=96, height=64)
    picture = Picture(frames, Fraction(10), times_seconds=VARIABLE_TIMES)
    write_media(source / "variable.mp4", picture=picture, sound=Sound(tone(500, 1.4)))
    upright = Picture(numbered_frames(12, width=96, height=64), Fraction(10))
    rotate_mov(write_media(source / "turned.mov", picture=upright), 90)
    return packed(folder, copy=True)


def packed(folder: Path, **settings) -> Path:
    """The dataset made of `folder / "source"`, all in one split."""
    config = PackConfig(splits={"train": 1.0}, num_workers=1, **settings)
    pack(folder / "source", folder / "dataset", config=config)
    return folder / "dataset"


def page_data(text: str) -> dict:
    """What the page's script reads."""
    (found,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', text)
    return json.loads(found)


def media_bytes(media: dict) -> bytes:
    """The content of a picture or sound of the page."""
    return base64.b64decode(media["base64"])


def view_of(sample: dict, name: str) -> dict:
    """One of a sample's pictures by name."""
    (found,) = [view for view in sample["views"] if view["name"] == name]
    return found


def sprite_frames(view: dict, *, num_frames: int) -> np.ndarray:
    """[T, H, W] or [T, H, W, 3] of a sprite: palette indices of planes, colours of pictures."""
    sheet = np.asarray(Image.open(io.BytesIO(media_bytes(view["sprite"]))))
    height, width = sheet.shape[0] // view["rows"], sheet.shape[1] // view["columns"]
    grid = sheet.reshape(view["rows"], height, view["columns"], width, *sheet.shape[2:])
    return grid.swapaxes(1, 2).reshape(-1, height, width, *sheet.shape[2:])[:num_frames]
