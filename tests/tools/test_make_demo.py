"""The demo's clips: no channel may tell another channel's factor."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "tools" / "make_demo.py"


@pytest.fixture(scope="module")
def make_demo():
    spec = importlib.util.spec_from_file_location("make_demo", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules["make_demo"] = module  # dataclasses look their module up by name
    spec.loader.exec_module(module)
    yield module
    del sys.modules["make_demo"]


def planes(make_demo, *, colour="red", speed="slow", number=0):
    """uint8 [T, H * 3 / 2, W]: luma above chroma."""
    scene = make_demo.make_scene(np.random.default_rng(number))
    chroma = make_demo.draw_chroma(colour, np.random.default_rng(number + 1))
    return np.stack([f.to_ndarray() for f in make_demo.render(scene, speed=speed, chroma=chroma)])


@pytest.mark.parametrize("number", range(5))
def test_luma_does_not_tell_the_colour(make_demo, number):
    red = planes(make_demo, colour="red", number=number)
    blue = planes(make_demo, colour="blue", number=number)

    side = make_demo.SIDE_PIXELS
    assert np.array_equal(red[:, :side], blue[:, :side])
    assert not np.array_equal(red[:, side:], blue[:, side:])


@pytest.mark.parametrize("number", range(5))
def test_both_speeds_show_the_same_pictures_in_another_order(make_demo, number):
    slow = planes(make_demo, speed="slow", number=number)[:16]
    fast = planes(make_demo, speed="fast", number=number)[:16]

    order = 3 * np.arange(16) % 16  # 3/16 of a turn a frame meets every sixteenth once
    np.testing.assert_allclose(fast.astype(int), slow[order].astype(int), atol=1)


@pytest.mark.parametrize("number", range(5))
def test_the_object_never_leaves_the_picture(make_demo, number):
    scene = make_demo.make_scene(np.random.default_rng(number))

    for turn in np.linspace(0, 1, 16, endpoint=False):
        _, mask = make_demo._draw(scene, turn)
        border = np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]])
        assert border.max() == 0.0
        assert mask.max() == 1.0


@pytest.mark.parametrize(("pitch", "band"), [("low", (140, 240)), ("high", (420, 720))])
def test_a_tones_lowest_partial_lies_in_its_band(make_demo, pitch, band):
    for number in range(5):
        sound = make_demo.synthesise(pitch, np.random.default_rng(number))
        spectrum = np.abs(np.fft.rfft(sound * np.hanning(len(sound))))
        frequencies = np.fft.rfftfreq(len(sound), 1 / make_demo.SAMPLE_RATE)
        strong = frequencies[spectrum > 0.1 * spectrum.max()]

        assert band[0] * 0.97 < strong.min() < band[1] * 1.03


def test_the_table_lists_every_class_of_every_scene_in_one_split(make_demo, tmp_path):
    table = make_demo.generate(tmp_path, scenes={"train": 1, "test": 1})

    rows = [line.split(",") for line in table.read_text().splitlines()]
    assert rows[0] == ["path", "label", "group", "split"]
    assert len({row[1] for row in rows[1:]}) == 8
    assert {(row[2], row[3]) for row in rows[1:]} == {
        ("scene-000", "train"),
        ("scene-001", "test"),
    }


def test_the_same_seed_gives_the_same_files(make_demo, tmp_path):
    for folder in ("a", "b"):
        make_demo.generate(tmp_path / folder, scenes={"train": 1})

    files = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert len(files) == 9
    for name in files:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
