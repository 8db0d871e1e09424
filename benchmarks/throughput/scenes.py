"""Seed -> moving pictures and sound, as they come out of a camera: what the corpus is drawn from.

A textured background drifts, textured objects move over it on paths of their own, now and then a
cut changes everything, and every frame has its own light noise. So motion, edges and detail are
everywhere, and an encoder finds neither still pictures nor pure noise.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

NOISE_LEVEL: Final = 6
"""Grey levels, both ways."""
SECONDS_A_SCENE: Final = 4.0
"""On average, from cut to cut."""
_MARGIN: Final = 1.6
"""Size of the background relative to the picture."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Path:
    """A place that swings around its centre, in pixels."""

    centre: NDArray[np.float64]
    """[2]: x, y."""
    reach: NDArray[np.float64]
    """[2]: how far it swings."""
    turns_per_frame: NDArray[np.float64]
    """[2]."""
    phase: NDArray[np.float64]
    """[2], in turns."""

    def at(self, frame: int) -> tuple[float, float]:
        turns = self.turns_per_frame * frame + self.phase
        x, y = self.centre + self.reach * np.sin(2 * np.pi * turns)
        return float(x), float(y)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Thing:
    """A textured ellipse and where it goes."""

    texture_HWC: NDArray[np.uint8]
    mask_HW: NDArray[np.uint8]
    path: _Path


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scene:
    """What is seen between two cuts."""

    background_HWC: NDArray[np.uint8]
    pan: _Path
    things: tuple[_Thing, ...]


def draw_frames(
    num_frames: int, *, width: int, height: int, fps: int, rng: np.random.Generator
) -> Iterator[NDArray[np.uint8]]:
    """uint8 [H, W, 3], one after the other; each array is new."""
    noise_HWC = _noise(width, height, rng)
    level_HWC = np.full((height, width, 3), NOISE_LEVEL, np.uint8)
    scene = _scene(width, height, rng)
    for frame in range(num_frames):
        if frame and rng.random() < 1 / (SECONDS_A_SCENE * fps):
            scene = _scene(width, height, rng)
        picture_HWC = _draw(scene, frame, width, height)
        x, y = rng.integers(0, noise_HWC.shape[1] - width), rng.integers(0, height // 2)
        grain_HWC = noise_HWC[y : y + height, x : x + width]
        # Noise around NOISE_LEVEL, then down by as much; both saturate.
        brighter_HWC = cv2.add(picture_HWC, np.ascontiguousarray(grain_HWC))
        yield np.asarray(cv2.subtract(brighter_HWC, level_HWC), np.uint8)


def draw_sound(
    seconds: float, *, sample_rate: int, rng: np.random.Generator
) -> NDArray[np.float32]:
    """float32 [2, S] in -1..1: chords that change four times a second, in noise."""
    num_samples = round(seconds * sample_rate)
    times = np.arange(num_samples) / sample_rate
    note = (times * 4).astype(np.int64)
    num_notes = int(note[-1]) + 1 if num_samples else 0
    wave_2S = 0.03 * rng.standard_normal((2, num_samples))
    for _ in range(3):
        hertz = rng.uniform(150, 5000, num_notes)[note]
        level = rng.uniform(0.02, 0.2, (2, num_notes))[:, note]
        wave_2S += level * np.sin(2 * np.pi * np.cumsum(hertz) / sample_rate)
    return wave_2S.clip(-1, 1).astype(np.float32)


def _noise(width: int, height: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    shape = (height + height // 2, width + width // 2, 3)
    return rng.integers(0, 2 * NOISE_LEVEL + 1, shape, dtype=np.uint8)


def _texture(width: int, height: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Large patches, small ones and fine grain over one another."""
    picture_HWC = np.zeros((height, width, 3), np.float32)
    for cell, weight in ((48, 0.5), (12, 0.35), (3, 0.15)):
        shape = (height // cell + 2, width // cell + 2)
        # More light than colour, as in nature.
        light = rng.random((*shape, 1), np.float32)
        coarse = 0.6 * light + 0.4 * rng.random((*shape, 3), np.float32)
        picture_HWC += weight * cv2.resize(
            coarse, (width, height), interpolation=cv2.INTER_CUBIC
        ).reshape(height, width, 3)
    return (picture_HWC * 255).clip(0, 255).astype(np.uint8)


def _scene(width: int, height: int, rng: np.random.Generator) -> _Scene:
    wide, high = int(width * _MARGIN), int(height * _MARGIN)
    spare = np.array([wide - width, high - height]) / 2
    pan = _Path(
        centre=spare,
        reach=spare * rng.uniform(0.4, 0.95, 2),
        turns_per_frame=rng.uniform(1 / 400, 1 / 150, 2),
        phase=rng.random(2),
    )
    things = tuple(_thing(width, height, rng) for _ in range(int(rng.integers(4, 8))))
    return _Scene(background_HWC=_texture(wide, high, rng), pan=pan, things=things)


def _thing(width: int, height: int, rng: np.random.Generator) -> _Thing:
    w, h = (int(side * rng.uniform(0.12, 0.3)) for side in (width, height))
    mask_HW = np.zeros((h, w), np.uint8)
    cv2.ellipse(mask_HW, (w // 2, h // 2), (w // 2 - 1, h // 2 - 1), 0, 0, 360, (255,), -1)
    spare = np.array([width - w, height - h]) / 2
    path = _Path(
        centre=spare,
        reach=spare * rng.uniform(0.3, 0.98, 2),
        turns_per_frame=rng.uniform(1 / 240, 1 / 70, 2),
        phase=rng.random(2),
    )
    return _Thing(texture_HWC=_texture(w, h, rng), mask_HW=mask_HW, path=path)


def _draw(scene: _Scene, frame: int, width: int, height: int) -> NDArray[np.uint8]:
    x, y = scene.pan.at(frame)
    centre = (x + (width - 1) / 2, y + (height - 1) / 2)
    # Between pixels too: a pan by whole pixels alone would be easier to encode than a real one.
    picture_HWC = np.asarray(
        cv2.getRectSubPix(scene.background_HWC, (width, height), centre), np.uint8
    )
    for thing in scene.things:
        left, top = (round(place) for place in thing.path.at(frame))
        high, wide = thing.mask_HW.shape
        target_HWC = picture_HWC[top : top + high, left : left + wide]
        cv2.copyTo(thing.texture_HWC, thing.mask_HW, target_HWC)
    return picture_HWC
