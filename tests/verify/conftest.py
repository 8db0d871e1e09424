"""A clean dataset of two splits, and one of samples that are wrong in what they show or sound."""

import csv
import shutil
from fractions import Fraction

import numpy as np
import pytest

from fmrgb_stream.config import PackConfig
from fmrgb_stream.packing import pack
from tests.support.media import Picture, Sound, flash_frames, numbered_frames, tone, write_media

FPS = Fraction(10)
NUM_FRAMES = 20
SECONDS = 2.0


def clip(folder, name, frames, wave, **options):
    picture = Picture(frames, fps=FPS, **options)
    return write_media(folder / name, picture=picture, sound=Sound(wave))


def frames_of(number):
    return numbered_frames(NUM_FRAMES, width=128, height=96, first=61 * number)


def pack_rows(folder, rows):
    with (folder / "labels.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([("path", "label", "group", "split"), *rows])
    config = PackConfig(num_workers=1, short_side=96, stats_samples=2)
    pack(folder / "labels.csv", folder / "out", config=config)
    return folder / "out"


@pytest.fixture(scope="session")
def clean_ten(tmp_path_factory):
    """Ten samples, seven for training; two classes; a group a sample."""
    folder = tmp_path_factory.mktemp("clean")
    rows = []
    for number in range(10):
        name = f"clip{number}.mp4"
        clip(folder, name, frames_of(number), tone(200 + 40 * number, SECONDS))
        split = "train" if number < 7 else "test"
        rows.append((name, "ab"[number % 2], f"group{number}", split))
    return pack_rows(folder, rows)


@pytest.fixture
def root(clean_ten, tmp_path):
    return shutil.copytree(clean_ten, tmp_path / "dataset")


@pytest.fixture(scope="session")
def odd(tmp_path_factory):
    """Samples that decode well, and should not be there: by what is odd about them."""
    folder = tmp_path_factory.mktemp("odd")
    wave = tone(300, SECONDS)
    half = frames_of(20)
    half[8:] = half[8]
    clip(folder, "black.mp4", flash_frames(NUM_FRAMES, []), wave)
    clip(folder, "frozen.mp4", half, wave)
    clip(folder, "silent.mp4", frames_of(21), np.zeros_like(wave))
    clip(folder, "quiet.mp4", frames_of(22), wave * 0.003)
    clip(folder, "halved.mp4", frames_of(23), tone(300, SECONDS / 2))
    # The pictures of clip0, which trains, at another size and quality.
    again = numbered_frames(NUM_FRAMES, width=160, height=120, first=0)
    clip(folder, "again.mp4", again, wave, options=(("crf", "34"), ("preset", "veryfast")))
    names = ("black", "frozen", "silent", "quiet", "halved", "again")
    return pack_rows(folder, [(f"{name}.mp4", "a", name, "train") for name in names])
