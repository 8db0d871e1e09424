"""Tars that WebDataset's own TarWriter made are looked at like packed ones, once they are indexed."""

import io
from fractions import Fraction

import numpy as np
import pytest
import soundfile
from webdataset import TarWriter

from fmrgb_stream import ClipConfig
from fmrgb_stream.cli.main import main
from fmrgb_stream.config import IndexConfig
from fmrgb_stream.packing import index
from fmrgb_stream.shards import find_sample, open_dataset
from fmrgb_stream.viewing.clip_view import view_clip
from fmrgb_stream.viewing.page import make_page
from fmrgb_stream.viewing.sample_card import read_sample_card
from tests.support.media import Picture, Sound, numbered_frames, read_numbers, tone, write_media
from tests.support.viewed import media_bytes, page_data, sprite_frames, view_of

HERTZ = (440, 880)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """`a` has its sound inside a webm file, `b` beside a mov file as wav; labels in cls members."""
    folder = tmp_path_factory.mktemp("foreign")
    frames = numbered_frames(20, width=96, height=64)
    both = write_media(
        folder / "a.webm",
        picture=Picture(frames, codec="libvpx-vp9", fps=Fraction(10)),
        sound=Sound(tone(HERTZ[0], 2.0), codec="libopus"),
    )
    picture = write_media(folder / "b.mov", picture=Picture(frames, fps=Fraction(10)))
    wave = io.BytesIO()
    soundfile.write(wave, tone(HERTZ[1], 2.0, rate=22050), 22050, format="WAV")
    (folder / "tars").mkdir()
    with TarWriter(str(folder / "tars" / "train-000000.tar"), encoder=False) as tar:
        tar.write({"__key__": "a", "webm": both.read_bytes(), "cls": b"0"})
        tar.write(
            {"__key__": "b", "mov": picture.read_bytes(), "wav": wave.getvalue(), "cls": b"1"}
        )
    assert main(["index", str(folder / "tars"), "--num-workers", "1", "--json"]) == 0
    return folder / "tars"


@pytest.mark.parametrize("place", [0, 1])
def test_pages_show_their_pictures_and_sound(root, place):
    clip = ClipConfig(num_frames=8, frame_stride=2, size=(64, 96), window="start")
    sample = page_data(make_page(root, clip=clip).html)["samples"][place]
    assert read_numbers(sprite_frames(view_of(sample, "RGB"), num_frames=8)) == list(
        range(0, 16, 2)
    )
    wave, rate = soundfile.read(io.BytesIO(media_bytes(sample["sound"]["file"])))
    loudest = np.abs(np.fft.rfft(wave * np.hanning(len(wave)))).argmax() * rate / len(wave)
    assert loudest == pytest.approx(HERTZ[place], abs=3)


def test_cards_describe_their_members(root, capsys):
    a, b = read_sample_card(root, "a"), read_sample_card(root, "b")
    assert [line.split(":")[0] for line in a.streams] == [
        "picture member (matroska,webm)",
        "picture member (matroska,webm)",
    ]
    assert any("pcm_s16le, 22050 Hz" in line for line in b.streams)
    assert (a.packets.keyframes[0], a.packets.num_packets) == (0, 20)
    assert main(["inspect", str(root)]) == 0
    assert "vp9 (1)" in capsys.readouterr().out


def test_sound_is_heard_to_the_end_of_the_last_of_few_frames(tmp_path):
    """At two frames a second the end lies beyond what the mel of the last one needs."""
    file = write_media(
        tmp_path / "a.mp4",
        picture=Picture(numbered_frames(40, width=96, height=64), fps=Fraction(2)),
        sound=Sound(tone(300, 20.0)),
    )
    (tmp_path / "tars").mkdir()
    with TarWriter(str(tmp_path / "tars" / "train-0.tar"), encoder=False) as tar:
        tar.write({"__key__": "a", "mp4": file.read_bytes()})
    index(tmp_path / "tars", config=IndexConfig(num_workers=1, stats_samples=1))
    store, manifest = open_dataset(tmp_path / "tars")
    found = find_sample(store, manifest, "a")
    clip = ClipConfig(num_frames=8, frame_stride=4, window="start")
    view = view_clip(found.reader, found.sample_id, clip=clip, audio_sample_rate=16000)
    assert len(view.waveform_S) == 16 * 16000
    assert np.flatnonzero(view.waveform_S)[-1] > 15.9 * 16000


def test_videos_of_them_are_written(root, tmp_path):
    assert main(["visualize", str(root), "a", "--out", str(tmp_path), "--json"]) == 0
    assert (tmp_path / "rgb.mkv").stat().st_size > 0
    assert soundfile.info(tmp_path / "sound.flac").duration == pytest.approx(2.0, abs=0.02)
