"""Settings -> one corpus on disk: source files, and what `fmrgb pack` makes of them.

A corpus lies in a folder named after a hash of all that shapes it. It is made once; `corpus.json`
is written last, so a folder that has it is whole.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from fractions import Fraction
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Final

import cv2
import numpy as np

import fmrgb_stream as fs
from benchmarks.throughput.contract import BenchClip, BenchData, Corpus
from benchmarks.throughput.media_files import CODEC_OPTIONS, ReadMedia, read_media, write_mp4
from benchmarks.throughput.scenes import draw_frames, draw_sound
from fmrgb_stream.distributed import usable_cores
from fmrgb_stream.packing.encoders import proxy_encoder

FORMAT: Final = 1
"""Raise when drawing or cutting changes, so that old folders are not taken."""
_SPREAD_FRAMES: Final = 16
"""The windows of generated clips start evenly over twice as many frames, which is more than a GOP of
the packed proxies."""
CLIPS_FOLDER: Final = Path(__file__).resolve().parents[3] / "shared" / "data" / "clips"
"""Real clips, beside the project where there are any."""
_STRETCH_FRAMES, _STRETCH_STEP, _MIN_FPS = 150, 20, 24
_NOTE: Final = "corpus.json"

Told = Callable[[str, int, int], None]
"""What is being made, how many are done, of how many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CorpusSettings:
    """What shapes a corpus."""

    name: Corpus = "generated"
    num_samples: int = 96
    """At most; real clips give as many as they have, in whole batches."""
    width: int = 640
    height: int = 360
    fps: int = 30
    first_start: int = 48
    """`generated`: source frames before the clip in the shortest sample."""
    seed: int = 0


def make_corpus(settings: CorpusSettings, build_folder: Path, told: Told) -> BenchData | None:
    """The corpus, made now unless it is there; None where there are no real clips.

    Raises:
        FmrgbError: packing failed.
        OSError: the folder cannot be written.
    """
    if settings.name == "clips" and not CLIPS_FOLDER.is_dir():
        return None
    folder = build_folder / f"{settings.name}-{_fingerprint(settings)}"
    if not (folder / _NOTE).is_file():
        shutil.rmtree(folder, ignore_errors=True)
        sources = folder / "sources"
        sources.mkdir(parents=True)
        if settings.name == "generated":
            _generate(settings, sources, told)
        else:
            _cut_clips(settings, sources, told)
        told("packing", 0, 1)
        fs.pack(sources, folder / "packed", config=fs.PackConfig(splits={"train": 1.0}))
        told("packing", 1, 1)
        # Real clips give fewer than were asked for.
        note = {**asdict(settings), "num_samples": len(list(sources.glob("*.mp4")))}
        (folder / _NOTE).write_text(json.dumps(note, indent=2) + "\n", encoding="utf-8")
    kept = json.loads((folder / _NOTE).read_text(encoding="utf-8"))
    return BenchData(
        name=settings.name,
        sources=folder / "sources",
        packed=folder / "packed",
        derived=folder / "derived",
        num_samples=kept["num_samples"],
    )


def num_frames_of(sample: int, settings: CorpusSettings, clip: BenchClip) -> int:
    """How long a generated sample is: the centre windows start as often at each of 32 frames."""
    start = settings.first_start + sample * 5 % _SPREAD_FRAMES
    start += _SPREAD_FRAMES * (sample // _SPREAD_FRAMES % 2)
    clip_frames = (clip.num_frames - 1) * clip.frame_stride + 1
    return clip_frames + 2 * start


def _fingerprint(settings: CorpusSettings) -> str:
    packed = proxy_encoder(fs.PackConfig()).options
    shapes = json.dumps(
        [FORMAT, asdict(settings), CODEC_OPTIONS, packed, fs.__version__], sort_keys=True
    )
    return hashlib.sha256(shapes.encode()).hexdigest()[:12]


def _generate(settings: CorpusSettings, sources: Path, told: Told) -> None:
    make = partial(_generate_one, settings, sources)
    with ProcessPoolExecutor(usable_cores(), mp_context=get_context("spawn")) as pool:
        for done, _ in enumerate(pool.map(make, range(settings.num_samples)), start=1):
            told("drawing clips", done, settings.num_samples)


def _generate_one(settings: CorpusSettings, sources: Path, sample: int) -> None:
    cv2.setNumThreads(1)
    num_frames = num_frames_of(sample, settings, BenchClip())
    rng = np.random.default_rng([settings.seed, sample])
    sample_rate = (44100, 48000)[sample % 2]
    sound_2S = draw_sound(num_frames / settings.fps, sample_rate=sample_rate, rng=rng)
    frames = draw_frames(
        num_frames, width=settings.width, height=settings.height, fps=settings.fps, rng=rng
    )
    write_mp4(
        sources / f"generated-{sample:04d}.mp4",
        frames,
        sound_2S,
        fps=Fraction(settings.fps),
        sample_rate=sample_rate,
    )


def _cut_clips(settings: CorpusSettings, sources: Path, told: Told) -> None:
    """Overlapping stretches of the real clips, each encoded anew as a file of its own."""
    stretches: list[tuple[str, ReadMedia, int]] = []
    for path in sorted(CLIPS_FOLDER.glob("*.mp4")):
        media = read_media(path, short_side=settings.height)
        if media is None or media.fps < _MIN_FPS or len(media.frames_HWC) < _STRETCH_FRAMES:
            continue
        starts = range(0, len(media.frames_HWC) - _STRETCH_FRAMES + 1, _STRETCH_STEP)
        stretches += [(path.stem, media, start) for start in starts]
    batch_size = BenchClip().batch_size
    usable = min(settings.num_samples, len(stretches)) // batch_size * batch_size
    for done, (name, media, start) in enumerate(stretches[:usable], start=1):
        first, last = (
            round(frame / media.fps * media.sample_rate)
            for frame in (start, start + _STRETCH_FRAMES)
        )
        write_mp4(
            sources / f"{name}-{start:04d}.mp4",
            # One frame more in every second stretch keeps the starts from falling on one parity.
            media.frames_HWC[start : start + _STRETCH_FRAMES - start // _STRETCH_STEP % 2],
            media.sound_2S[:, first:last],
            fps=media.fps,
            sample_rate=media.sample_rate,
        )
        told("cutting clips", done, usable)
