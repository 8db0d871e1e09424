"""Tars written by WebDataset's own TarWriter, in the layouts that people use."""

from fractions import Fraction

import pytest
from webdataset import TarWriter

from tests.support.media import Picture, Sound, numbered_frames, tone, write_media

FPS = Fraction(10)
NUM_FRAMES = 20
SECONDS = 2.0


def video(folder, name, number, *, sound=None, **options):
    frames = numbered_frames(NUM_FRAMES, width=128, height=96, first=61 * number)
    picture = Picture(frames, fps=FPS, **options)
    return write_media(folder / name, picture=picture, sound=sound).read_bytes()


def sound_file(folder, name, number, codec, *, rate=48000, **options):
    wave = Sound(tone(200 + 40 * number, SECONDS, rate=rate), rate=rate, codec=codec, **options)
    return write_media(folder / name, sound=wave).read_bytes()


def write_tar(path, samples):
    path.parent.mkdir(parents=True, exist_ok=True)
    with TarWriter(str(path), encoder=False) as tar:
        for key, files in samples:
            tar.write({"__key__": key, **files})


def inside(folder, number):
    """Sound inside an mp4, class number in a cls."""
    content = video(folder, "a.mp4", number, sound=Sound(tone(200 + 40 * number, SECONDS)))
    return {"mp4": content, "cls": str(number % 2).encode()}


def beside(folder, number):
    """Stereo wav at 44.1 kHz beside a webm without sound, class number in a json."""
    content = video(folder, "b.webm", number, codec="libvpx-vp9")
    wav = sound_file(folder, "b.wav", number, "pcm_s16le", rate=44100, layout="stereo")
    return {"webm": content, "wav": wav, "json": f'{{"label": {number % 2}}}'.encode()}


@pytest.fixture(scope="session")
def foreign(tmp_path_factory):
    """Two train shards with the sound inside, one test shard with it beside."""
    folder = tmp_path_factory.mktemp("foreign")
    for shard in range(2):
        samples = [(f"{3 * shard + n:06d}", inside(folder, 3 * shard + n)) for n in range(3)]
        write_tar(folder / "tars" / f"train-{shard:04d}.tar", samples)
    samples = [(f"{n:06d}", {**beside(folder, n), "cls": b"1"}) for n in range(6, 9)]
    write_tar(folder / "tars" / "valid-0000.tar", samples)
    return folder / "tars"
