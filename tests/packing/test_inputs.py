"""Every kind of input that must work, packed once; each test looks at one of them."""

import io
import json
import os
from fractions import Fraction

import av
import numpy as np
import pytest
from av.video.frame import PictureType

from fmrgb_stream.clips.h264 import is_disposable, nal_length_bytes
from fmrgb_stream.config import PackConfig
from fmrgb_stream.errors import PackError
from fmrgb_stream.packing import pack, verify
from tests.support.media import (
    Picture,
    Sound,
    four_bad_files,
    numbered_frames,
    read_numbers,
    rotate_mov,
    tone,
    write_media,
)
from tests.support.packed import all_bytes, packed_samples

# Sound of 440 Hz on the left front and 1320 Hz on the right, 1 s.
STEREO = np.stack([tone(440, 1.0), tone(1320, 1.0)], axis=1)
VARIABLE = np.cumsum([0, *([0.02, 0.05, 0.033, 0.11] * 8)])


def picture(**options):
    return Picture(numbered_frames(30), **options)


def make_inputs(folder):
    beep = Sound(tone(1000, 1.0))
    write_media(folder / "h264.mp4", picture=picture(), sound=beep)
    write_media(folder / "hevc.mp4", picture=picture(codec="libx265"), sound=beep)
    write_media(folder / "mpeg4.avi", picture=picture(codec="mpeg4"))
    write_media(folder / "mpeg2.mpg", picture=picture(codec="mpeg2video"))
    write_media(folder / "vp9.webm", picture=picture(codec="libvpx-vp9"))
    write_media(folder / "flash.flv", picture=picture(codec="flv1"))
    write_media(
        folder / "b_frames.mkv", picture=picture(options=(("bf", "3"), ("preset", "veryfast")))
    )
    rotate_mov(write_media(folder / "rotated.mov", picture=picture(), sound=beep), 90)
    write_media(
        folder / "variable.mp4",
        picture=Picture(numbered_frames(len(VARIABLE)), times_seconds=VARIABLE),
    )
    write_media(folder / "audio_first.mkv", picture=picture(), sound=beep, audio_first=True)
    surround = np.zeros((48000, 6), dtype=np.float32)
    surround[:, 2] = tone(700, 1.0)  # front centre
    write_media(
        folder / "surround.mkv",
        picture=picture(),
        sound=Sound(surround, codec="ac3", layout="5.1"),
    )
    write_media(folder / "stereo.mp4", picture=picture(), sound=Sound(STEREO, layout="stereo"))
    write_media(folder / "silent.mp4", picture=picture(), sound=Sound(np.zeros(48000, "float32")))
    write_media(folder / "mute.mp4", picture=picture())
    write_media(folder / "song.wav", sound=Sound(tone(500, 2.5), codec="pcm_s16le"))
    odd = Picture(numbered_frames(30, width=161, height=97), pix_fmt="yuv444p")
    write_media(folder / "odd.mp4", picture=odd)
    large = Picture(numbered_frames(30, width=513, height=301), pix_fmt="yuv444p")
    write_media(folder / "large.mp4", picture=large)
    write_media(folder / "eighteen.mp4", picture=Picture(numbered_frames(18)), sound=beep)
    write_media(folder / "with space, ünïcode (1).v2.mp4", picture=picture())
    twice = write_media(folder / "twice.mp4", picture=picture(), sound=beep)
    (folder / "twice_again.mp4").write_bytes(twice.read_bytes())
    wide = picture(sample_aspect_ratio=Fraction(2, 1))
    write_media(folder / "anamorphic.mp4", picture=wide)
    ntsc = picture(fps=Fraction(30000, 1001))
    write_media(folder / "ntsc.mkv", picture=ntsc, sound=beep)


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("inputs")
    make_inputs(folder / "in")
    before = all_bytes(folder / "in")
    report = pack(folder / "in", folder / "out", config=PackConfig(num_workers=1))
    assert all_bytes(folder / "in") == before, "the source was written to"
    assert report.rejects == ()
    assert report.warnings == ()
    return folder / "out"


@pytest.fixture(scope="module")
def samples(packed):
    return packed_samples(packed)


def test_nothing_is_left_out_and_the_dataset_is_good(packed, samples):
    assert len(samples) == 23
    report = verify(packed, num_workers=1)
    # Many of these files show and sound the same, by design.
    alike = {"duplicate", "look-alike", "silent"}
    assert [finding for finding in report.findings if finding.check not in alike] == []
    assert report.num_decoded == 23


@pytest.mark.parametrize(
    "key",
    ["h264", "hevc", "mpeg4", "mpeg2", "vp9", "flash", "b_frames", "audio_first", "surround",
     "stereo", "silent", "mute", "odd", "large", "with_space__ünïcode__1__v2", "twice",
     "anamorphic", "ntsc"],
)  # fmt: skip
def test_every_frame_is_there_once_and_in_order(samples, key):
    assert read_numbers(samples[key].pictures()) == list(range(30))


def test_proxy_is_what_decoders_like_best(samples):
    info = samples["h264"].info
    assert (info.codec, info.color_matrix, info.color_range) == ("h264", "bt601", "limited")
    assert info.packets is not None
    assert np.flatnonzero(info.packets.is_key).tolist() == [0, 25]
    content = samples["h264"].video()
    # Frames 8, 16 and 24 of a group are referred to, the others by nobody.
    with av.open(io.BytesIO(content)) as container:
        types = [PictureType(frame.pict_type).name for frame in container.decode(video=0)]
    assert "".join(types[:26]) == "IBBBBBBBPBBBBBBBPBBBBBBBPI"
    packets = zip(info.packets.offsets, info.packets.sizes, strict=True)
    parts = [memoryview(content)[start : start + size] for start, size in packets]
    length_bytes = nal_length_bytes(info.extradata)
    assert sum(is_disposable(part, length_bytes) for part in parts) == types.count("B")
    assert content.index(b"moov") < content.index(b"mdat")


def test_short_side_shrinks_and_never_grows(samples):
    assert (samples["large"].info.width, samples["large"].info.height) == (218, 128)
    assert (samples["h264"].info.width, samples["h264"].info.height) == (160, 96)
    assert (samples["odd"].info.width, samples["odd"].info.height) == (160, 96)


def test_rotated_video_stands_upright(samples):
    sample = samples["rotated"]
    assert (sample.info.width, sample.info.height) == (96, 160)
    # Upright, the bars run from top to bottom: turning back gives the numbers.
    assert read_numbers(np.rot90(sample.pictures(), 1, axes=(1, 2))) == list(range(30))


def test_pixels_become_square(samples):
    assert (samples["anamorphic"].info.width, samples["anamorphic"].info.height) == (160, 48)


def test_exact_rate_is_kept(samples):
    assert samples["ntsc"].info.fps == pytest.approx(30000 / 1001, abs=1e-12)
    assert samples["ntsc"].info.frame_times_seconds is None


def test_variable_rate_shows_each_frame_at_its_time(samples):
    sample = samples["variable"]
    numbers = np.array(read_numbers(sample.pictures()))
    times = sample.info.times_seconds()
    first_use = np.flatnonzero(np.diff(numbers, prepend=-1))
    assert np.abs(times[first_use] - VARIABLE[numbers[first_use]]).max() < 1e-4
    assert (np.diff(times) > 0).all()
    cells = np.arange(len(numbers)) / sample.info.fps
    late = cells - VARIABLE[numbers]
    held = np.append(np.diff(VARIABLE), 0.1)[numbers]
    assert (late <= held + 0.5 / sample.info.fps + 1e-3).all()


def strongest_hertz(wave, rate):
    spectrum = np.abs(np.fft.rfft(wave * np.hanning(len(wave))))
    return spectrum.argmax() * rate / len(wave), 2 * spectrum.max() / (len(wave) / 2)


def test_tone_keeps_pitch_and_level(samples):
    hertz, level = strongest_hertz(samples["h264"].wave(), 16000)
    assert hertz == pytest.approx(1000, abs=1.5)
    assert level == pytest.approx(0.3, rel=0.05)


def test_stereo_becomes_the_mean_of_both(samples):
    wave = samples["stereo"].wave()
    low, high = (
        2 * abs(np.vdot(np.exp(2j * np.pi * f * np.arange(len(wave)) / 16000), wave)) / len(wave)
        for f in (440, 1320)
    )
    assert low == pytest.approx(0.15, rel=0.1)
    assert high == pytest.approx(0.15, rel=0.1)


def test_centre_of_surround_is_heard(samples):
    hertz, _ = strongest_hertz(samples["surround"].wave(), 16000)
    assert hertz == pytest.approx(700, abs=1.5)


def test_silence_is_sound_and_no_track_is_none(samples):
    assert samples["silent"].info.has_audio
    assert np.abs(samples["silent"].wave()).max() < 1e-3
    assert not samples["mute"].info.has_audio
    assert set(samples["mute"].files) == {"mp4", "json"}


def test_sound_is_as_long_as_the_picture(samples):
    for sample in samples.values():
        if sample.info.has_audio:
            assert len(sample.wave()) == round(sample.info.duration_seconds * 16000)


def test_sound_alone_has_a_timeline_and_no_video(samples):
    sample = samples["song"]
    assert set(sample.files) == {"flac", "json"}
    assert (sample.info.has_video, sample.info.fps, sample.info.num_frames) == (False, 30.0, 75)
    assert len(sample.wave()) == 40000


def test_one_video_twice_is_two_samples_of_one_group(samples):
    one, two = samples["twice"], samples["twice_again"]
    assert one.info.group == two.info.group
    assert one.split == two.split
    assert one.video() == two.video()


def test_json_says_where_a_sample_comes_from(samples):
    key = "with_space__ünïcode__1__v2"
    content = json.loads(samples[key].files["json"])
    assert content["source"] == "with space, ünïcode (1).v2.mp4"
    assert (content["key"], content["num_frames"]) == (key, 30)


def test_bad_files_are_reported_and_the_good_one_is_packed(tmp_path):
    four_bad_files(tmp_path / "in")
    write_media(tmp_path / "in" / "good.mp4", picture=picture())
    report = pack(tmp_path / "in", tmp_path / "out", config=PackConfig(num_workers=1))
    assert set(packed_samples(tmp_path / "out")) == {"good"}
    lines = [json.loads(line) for line in report.rejects_path.read_text().splitlines()]
    reasons = {line["path"]: line["reason"] for line in lines}
    assert set(reasons) == {"empty.mp4", "text.mp4", "truncated.mp4", "zero_frames.mp4"}
    assert "empty" in reasons["empty.mp4"]
    assert "plain text" in reasons["text.mp4"]
    assert "moov" in reasons["truncated.mp4"]
    assert "zero video frames" in reasons["zero_frames.mp4"]


def test_nothing_but_bad_files_is_an_error(tmp_path):
    four_bad_files(tmp_path / "in")
    with pytest.raises(PackError, match="none of 4 inputs can be packed"):
        pack(tmp_path / "in", tmp_path / "out", config=PackConfig(num_workers=1))


def test_sound_that_cannot_be_decoded_leaves_the_picture(tmp_path):
    path = write_media(
        tmp_path / "in" / "a.mkv", picture=picture(), sound=Sound(tone(440, 1.0), codec="flac")
    )
    content = bytearray(path.read_bytes())
    # FLAC frames begin with this sync code (RFC 9639, 9.1); zeroed they are no frames any more.
    start = 0
    while (start := content.find(b"\xff\xf8", start)) != -1:
        content[start : start + 12] = bytes(12)
    path.write_bytes(content)
    report = pack(tmp_path / "in", tmp_path / "out", config=PackConfig(num_workers=1))
    sample = packed_samples(tmp_path / "out")["a"]
    assert read_numbers(sample.pictures()) == list(range(30))
    assert not sample.info.has_audio
    assert "sound" in report.warnings[0]


def test_real_clips_are_all_packed(real_clips, tmp_path):
    report = pack(real_clips, tmp_path / "out", config=PackConfig(num_workers=1))
    samples = packed_samples(tmp_path / "out")
    assert report.rejects == ()
    sources = {json.loads(sample.files["json"])["source"] for sample in samples.values()}
    assert sources == {p.name for p in real_clips.iterdir() if p.suffix in (".mp4", ".avi")}
    assert not samples["muted_b"].info.has_audio
    assert set(report.manifest.channel_stats) == {"red", "green", "blue", "gray", "flow", "mel"}


@pytest.mark.timeout(60)
def test_a_pipe_named_like_media_is_rejected_and_not_waited_for(tmp_path):
    source = tmp_path / "in"
    write_media(source / "good.mp4", picture=picture())
    os.mkfifo(source / "pipe.mp4")
    report = pack(source, tmp_path / "out", config=PackConfig(num_workers=1))
    assert [(reject.path, "not a regular file" in reject.reason) for reject in report.rejects] == [
        ("pipe.mp4", True)
    ]
    assert report.num_packed == 1


def test_a_tilde_in_a_table_is_part_of_a_name(tmp_path):
    write_media(tmp_path / "in" / "~nobody9.mp4", picture=picture())
    table = tmp_path / "in" / "t.csv"
    table.write_text("path,label\n~nobody9.mp4,x\n")
    report = pack(table, tmp_path / "out", config=PackConfig(num_workers=1))
    assert (report.num_packed, report.num_rejected) == (1, 0)


def test_a_cut_off_recording_keeps_the_sound_before_the_cut(tmp_path):
    source = tmp_path / "in"
    whole = write_media(
        tmp_path / "whole.ts",
        picture=Picture(numbered_frames(90)),
        sound=Sound(tone(1000, 3.0)),
        container="mpegts",
    ).read_bytes()
    source.mkdir()
    # In the middle of a sound packet: the decoder refuses the last one.
    for number in range(6):
        (source / f"cut{number}.ts").write_bytes(whole[: len(whole) // 2 + number * 188])
    report = pack(source, tmp_path / "out", config=PackConfig(num_workers=1))
    samples = packed_samples(tmp_path / "out")
    assert len(samples) == 6
    for sample in samples.values():
        assert sample.info.has_audio
        assert np.abs(sample.wave()[1600:8000]).max() > 0.2
    assert any("silence follows" in warning for warning in report.warnings)
    assert not any("without sound" in warning for warning in report.warnings)
