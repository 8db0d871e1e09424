"""The plain transcode that packing is compared with makes the same pictures and the same sound."""

from fractions import Fraction

import av
import numpy as np
import pytest
import soundfile

from benchmarks.packing import Spent, bars_of
from benchmarks.plain_transcode import transcode
from fmrgb_stream.config import PackConfig
from fmrgb_stream.packing import pack
from tests.support.media import Picture, Sound, numbered_frames, read_numbers, tone, write_media
from tests.support.packed import packed_samples


@pytest.fixture
def source(tmp_path):
    frames = numbered_frames(40, width=640, height=360)
    picture = Picture(frames=frames, fps=Fraction(20))
    folder = tmp_path / "sources"
    folder.mkdir()
    write_media(folder / "clip.mp4", picture=picture, sound=Sound(samples=tone(440, 2.0)))
    return folder / "clip.mp4"


def test_a_plain_transcode_is_what_packing_makes(tmp_path, source):
    target = tmp_path / "plain"
    target.mkdir()
    transcode(source, target=target)
    config = PackConfig(splits={"train": 1.0}, num_workers=1, stats_samples=1)
    pack(source.parent, tmp_path / "packed", config=config)
    (sample,) = packed_samples(tmp_path / "packed").values()
    with av.open(target / "clip.mp4") as container:
        plain = np.stack([f.to_ndarray(format="rgb24") for f in container.decode(video=0)])
    assert read_numbers(plain) == list(range(40))
    assert np.abs(plain.astype(int) - sample.pictures()).mean() < 2
    sound, rate = soundfile.read(target / "clip.flac")
    assert rate == 16000
    assert abs(len(sound) - len(sample.wave())) < 0.1 * rate


def test_the_ratio_is_taken_inside_rounds():
    # The machine is half as fast in the second round: 0.9 all the same.
    plain = [Spent(wall_seconds=9, cpu_seconds=9), Spent(wall_seconds=18, cpu_seconds=18)]
    ours = [Spent(wall_seconds=10, cpu_seconds=10), Spent(wall_seconds=20, cpu_seconds=20)]
    (bar,) = bars_of({"fmrgb pack": ours, "plain transcode": plain})
    assert bar.value == pytest.approx(0.9)
    assert bar.is_met
