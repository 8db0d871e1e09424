"""Make the demo dataset: generated clips whose class is a colour, a speed and a pitch.

    python tools/make_demo.py                 # writes shards/demo beside this folder
    python tools/make_demo.py --keep clips/   # also keeps the clips and labels.csv

Every scene is filmed in all eight combinations of red | blue, slow | fast, low | high, and only the
named factor changes: the two colours have the same luma at every pixel, the two speeds show the
same pictures in another order (one object circles; 1/16 or 3/16 of a turn a frame), and the sound
never depends on the picture. So no channel can tell another channel's factor, and a model without
RGB, without flow or without mel can only guess one of the three. Everything else (background,
shape, size, texture, contrast, place, direction, fundamental, timbre, loudness) is random by scene.
"""

from __future__ import annotations

import argparse
import csv
import math
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import product
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from fmrgb_stream.config import PackConfig
from fmrgb_stream.packing import pack

SEED = 2024
CLIPS_PER_SHARD = 64
SCENES = {"train": 20, "val": 4, "test": 8}
COLOURS, SPEEDS, PITCHES = ("red", "blue"), ("slow", "fast"), ("low", "high")

SIDE_PIXELS = 64
FRAMES_PER_SECOND = 12
NUM_FRAMES = 20
TURNS_PER_FRAME = {"slow": 1 / 16, "fast": 3 / 16}

SAMPLE_RATE = 16000
FUNDAMENTAL_HZ = {"low": (140.0, 240.0), "high": (420.0, 720.0)}
CHROMA_ANGLE_DEGREES = {"red": 105.0, "blue": -25.0}
"""Direction in the (Cb, Cr) plane of BT.601."""

Plane = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """What the eight clips of one scene share."""

    background: Plane
    """Luma, float64 [H, W] in 16..235."""
    background_chroma: tuple[float, float]
    """(Cb, Cr) around 128."""
    object_luma: float
    shading_luma: float
    """From the middle to the rim: something inside the outline that moves with it."""
    shading_angle: float
    shape: str
    radius_pixels: float
    orbit_centre: tuple[float, float]
    orbit_radii: tuple[float, float]
    start_turn: float
    direction: int


def make_scene(random: np.random.Generator) -> Scene:
    """Draw everything that is no factor."""
    radius = random.uniform(9.0, 12.0)
    orbit = random.uniform(4.2, 5.4)
    margin = radius * 1.15 + orbit + 1.0
    object_luma = random.uniform(95.0, 135.0)
    contrast = random.uniform(32.0, 52.0) * random.choice([-1, 1])
    angle = random.uniform(0, 2 * math.pi)
    chroma = random.uniform(0.0, 10.0)
    return Scene(
        background=np.clip(object_luma + contrast + _texture(random), 20.0, 230.0),
        background_chroma=(128 + chroma * math.cos(angle), 128 + chroma * math.sin(angle)),
        object_luma=object_luma,
        shading_luma=random.uniform(10.0, 18.0),
        shading_angle=random.uniform(0, 2 * math.pi),
        shape=str(random.choice(["disc", "square", "diamond"])),
        radius_pixels=radius,
        orbit_centre=(
            random.uniform(margin, SIDE_PIXELS - margin),
            random.uniform(margin, SIDE_PIXELS - margin),
        ),
        orbit_radii=(orbit, orbit * random.uniform(0.85, 1.0)),
        start_turn=random.uniform(),
        direction=int(random.choice([-1, 1])),
    )


def _texture(random: np.random.Generator) -> Plane:
    """A few plane waves: something for the flow estimator to hold on to, cheap to encode."""
    y, x = np.mgrid[0:SIDE_PIXELS, 0:SIDE_PIXELS].astype(np.float64)
    texture = np.zeros((SIDE_PIXELS, SIDE_PIXELS))
    for _ in range(4):
        angle, phase = random.uniform(0, 2 * math.pi, size=2)
        waves = random.uniform(1.0, 4.0) * 2 * math.pi / SIDE_PIXELS
        texture += np.cos(waves * (x * math.cos(angle) + y * math.sin(angle)) + phase)
    return texture * random.uniform(3.0, 6.0)


def render(scene: Scene, *, speed: str, chroma: tuple[float, float]) -> Iterator[av.VideoFrame]:
    """The clip's pictures as limited-range BT.601 yuv420p; `chroma` is the object's (Cb, Cr)."""
    for frame in range(NUM_FRAMES):
        turn = scene.start_turn + scene.direction * TURNS_PER_FRAME[speed] * frame
        luma, mask = _draw(scene, turn)
        mask = mask.reshape(SIDE_PIXELS // 2, 2, SIDE_PIXELS // 2, 2).mean(axis=(1, 3))
        planes = [luma] + [
            back + (front - back) * mask
            for back, front in zip(scene.background_chroma, chroma, strict=True)
        ]
        stacked = np.concatenate([np.rint(plane).astype(np.uint8).ravel() for plane in planes])
        picture = stacked.reshape(SIDE_PIXELS * 3 // 2, SIDE_PIXELS)
        yield av.VideoFrame.from_ndarray(picture, format="yuv420p")


def _draw(scene: Scene, turn: float) -> tuple[Plane, Plane]:
    """Luma and the object's coverage, both float64 [H, W]."""
    centre_x = scene.orbit_centre[0] + scene.orbit_radii[0] * math.cos(2 * math.pi * turn)
    centre_y = scene.orbit_centre[1] + scene.orbit_radii[1] * math.sin(2 * math.pi * turn)
    y, x = np.mgrid[0:SIDE_PIXELS, 0:SIDE_PIXELS].astype(np.float64)
    x, y = x + 0.5 - centre_x, y + 0.5 - centre_y
    mask = np.clip(0.5 - _distance(scene.shape, x, y, scene.radius_pixels), 0.0, 1.0)
    along = x * math.cos(scene.shading_angle) + y * math.sin(scene.shading_angle)
    shading = scene.shading_luma * along / scene.radius_pixels
    return scene.background + (scene.object_luma + shading - scene.background) * mask, mask


def _distance(shape: str, x: Plane, y: Plane, radius: float) -> Plane:
    """Signed distance in pixels to the outline, negative inside."""
    if shape == "square":
        return np.maximum(abs(x), abs(y)) - 0.9 * radius
    if shape == "diamond":
        return (abs(x) + abs(y)) / math.sqrt(2) - 0.8 * radius
    return np.hypot(x, y) - radius


def draw_chroma(colour: str, random: np.random.Generator) -> tuple[float, float]:
    """(Cb, Cr) of one shade of a colour; luma comes from the scene."""
    angle = math.radians(CHROMA_ANGLE_DEGREES[colour] + random.uniform(-14.0, 14.0))
    saturation = random.uniform(44.0, 62.0)
    return 128 + saturation * math.cos(angle), 128 + saturation * math.sin(angle)


def synthesise(pitch: str, random: np.random.Generator) -> NDArray[np.int16]:
    """A tone with harmonics, vibrato, tremolo and a little low noise; int16 [S].

    The four lowest bits are zero: FLAC then needs half the bytes.
    """
    num_samples = NUM_FRAMES * SAMPLE_RATE // FRAMES_PER_SECOND
    time = np.arange(num_samples) / SAMPLE_RATE
    vibrato = 0.006 * np.sin(2 * math.pi * random.uniform(3, 6) * time + random.uniform(0, 6))
    low, high = FUNDAMENTAL_HZ[pitch]
    fundamental = math.exp(random.uniform(math.log(low), math.log(high)))
    turns = np.cumsum(fundamental * (1 + vibrato)) / SAMPLE_RATE
    top_hz = random.uniform(1400.0, 2200.0)
    roll_off = random.uniform(0.8, 1.6)
    tone = np.zeros(num_samples)
    for partial in range(1, int(top_hz / fundamental) + 1):
        strength = random.uniform(0.5, 1.0) / partial**roll_off
        tone += strength * np.sin(2 * math.pi * (partial * turns + random.uniform()))
    tremolo = 1 - random.uniform(0, 0.4) * np.sin(math.pi * random.uniform(1, 4) * time) ** 2
    loudness = 10 ** (random.uniform(-28.0, -14.0) / 20)
    noise = np.cumsum(random.standard_normal(num_samples))
    noise -= np.convolve(noise, np.full(401, 1 / 401), mode="same")
    sound = loudness * tone * tremolo / np.sqrt(np.mean(tone**2))
    sound += 10 ** (random.uniform(-62.0, -54.0) / 20) * noise / noise.std()
    twelve_bits = np.rint(np.clip(sound, -1, 1) * 2047).astype(np.int16)
    return twelve_bits * np.int16(16)


def write_clip(path: Path, frames: Iterator[av.VideoFrame], sound: NDArray[np.int16]) -> None:
    """A lossless Matroska file: FFV1 and PCM, so that the packer's proxy is the only lossy step."""
    # Without bitexact every file gets a random id, and the shards would note another checksum.
    with av.open(path, "w", options={"fflags": "+bitexact"}) as container:
        video = container.add_stream("ffv1", rate=Fraction(FRAMES_PER_SECOND))
        video.width = video.height = SIDE_PIXELS
        video.pix_fmt = "yuv420p"
        video.codec_context.color_range = 1  # limited
        video.codec_context.colorspace = 6  # SMPTE 170M, BT.601 with 525 lines
        audio = container.add_stream("pcm_s16le", rate=SAMPLE_RATE, layout="mono")
        for index, frame in enumerate(frames):
            frame.pts = index
            container.mux(video.encode(frame))
        samples = av.AudioFrame.from_ndarray(sound[None], format="s16", layout="mono")
        samples.sample_rate = SAMPLE_RATE
        container.mux(audio.encode(samples))
        container.mux(video.encode(None))
        container.mux(audio.encode(None))


def generate(folder: Path, *, scenes: dict[str, int], seed: int = SEED) -> Path:
    """Write all clips and `labels.csv` (path, label, group, split); the path of the table."""
    folder.mkdir(parents=True, exist_ok=True)
    splits = [split for split, count in scenes.items() for _ in range(count)]
    rows: list[tuple[str, str, str, str]] = []
    for number, split in enumerate(splits):
        group = f"scene-{number:03d}"
        scene = make_scene(np.random.default_rng([seed, number]))
        chromas = {
            c: draw_chroma(c, np.random.default_rng([seed, number, 1, i]))
            for i, c in enumerate(COLOURS)
        }
        sounds = {
            p: synthesise(p, np.random.default_rng([seed, number, 2, i]))
            for i, p in enumerate(PITCHES)
        }
        for colour, speed, pitch in product(COLOURS, SPEEDS, PITCHES):
            label = f"{colour}-{speed}-{pitch}"
            name = f"{group}-{label}.mkv"
            frames = render(scene, speed=speed, chroma=chromas[colour])
            write_clip(folder / name, frames, sounds[pitch])
            rows.append((name, label, group, split))
    table = folder / "labels.csv"
    with table.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream, lineterminator="\n").writerows(
            [("path", "label", "group", "split"), *rows]
        )
    return table


def main() -> None:
    """Generate into a temporary folder, pack, and say what came out."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    default = Path(__file__).resolve().parents[1] / "shards" / "demo"
    parser.add_argument("--out", type=Path, default=default, help="folder of the dataset")
    parser.add_argument("--keep", type=Path, help="keep the clips and labels.csv in this folder")
    parser.add_argument("--seed", type=int, default=SEED)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.keep or Path(temporary)
        table = generate(folder, scenes=SCENES, seed=arguments.seed)
        settings = PackConfig(
            parser="csv", short_side=SIDE_PIXELS, crf=20, samples_per_shard=CLIPS_PER_SHARD
        )
        report = pack(table, arguments.out, config=settings, overwrite=True)
    manifest = report.manifest
    num_bytes = sum(path.stat().st_size for path in arguments.out.rglob("*") if path.is_file())
    print(f"{arguments.out}: {manifest.num_samples} clips, {num_bytes / 1e6:.2f} MB")
    for name, split in manifest.splits.items():
        print(f"  {name}: {split.num_samples} clips of {split.num_groups} scenes")
    if report.rejects:
        raise SystemExit(f"rejected: {report.rejects}")


if __name__ == "__main__":
    main()
