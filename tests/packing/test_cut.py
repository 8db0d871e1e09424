"""Cuts, lower rates, smaller pictures and copies of one numbered video."""

import io

import av
import numpy as np
import pytest

from fmrgb_stream.clips.media import main_streams, open_media
from fmrgb_stream.config import PackConfig
from fmrgb_stream.packing import pack, verify
from tests.support.media import (
    Picture,
    Sound,
    noisy,
    numbered_frames,
    read_numbers,
    rotate_mov,
    tone,
    write_media,
)
from tests.support.packed import packed_samples


def options(**changes):
    return PackConfig(num_workers=1, stats_samples=1, **changes)


def pieces(root, key):
    found = packed_samples(root)
    return [found[name] for name in sorted(found) if name.startswith(f"{key}-s")]


@pytest.mark.parametrize(
    ("name", "codec"),
    [("a.mp4", "libx264"), ("a.mkv", "libx264"), ("a.avi", "mpeg4"), ("a.mpg", "mpeg2video"),
     ("a.ts", "mpeg2video"), ("a.webm", "libvpx-vp9"), ("a.flv", "flv1")],
)  # fmt: skip
def test_cuts_of_long_videos_lose_nothing(tmp_path, name, codec):
    # Keyframes at every 50th frame, so that no cut meets one; the last cut is 20 frames short.
    # mpg files hold times for packets of 2 kB, however many frames lie in one: noise fills them.
    frames = numbered_frames(200)
    picture = Picture(
        noisy(frames) if name == "a.mpg" else frames,
        codec=codec,
        bit_rate=2_000_000,
        options=(("g", "50"), ("preset", "ultrafast"), ("bf", "2")),
    )
    sound = {"a.webm": "libopus", "a.mpg": "ac3"}.get(name, "aac")
    write_media(
        tmp_path / "in" / name,
        picture=picture,
        sound=Sound(tone(440, 6.7), codec=sound) if name != "a.avi" else None,
        container="mpegts" if name.endswith(".ts") else None,
    )
    pack(tmp_path / "in", tmp_path / "out", config=options(segment_seconds=2.0))
    cut = pieces(tmp_path / "out", "a")
    assert [len(piece.pictures()) for piece in cut] == [60, 60, 60, 20]
    numbers = [number for piece in cut for number in read_numbers(piece.pictures())]
    assert numbers == list(range(200))


def test_dropped_frame_of_an_avi_is_shown_as_a_repeat(tmp_path):
    # Beside MP3 the muxer notes the encoder's delay as an empty chunk after the first frame.
    write_media(
        tmp_path / "in" / "a.avi",
        picture=Picture(numbered_frames(90), codec="mpeg4"),
        sound=Sound(tone(440, 3, rate=44100), codec="libmp3lame", rate=44100),
    )
    pack(tmp_path / "in", tmp_path / "out", config=options(segment_seconds=1.0))
    cut = pieces(tmp_path / "out", "a")
    numbers = [number for piece in cut for number in read_numbers(piece.pictures())]
    assert numbers == [0, 0, *range(1, 90)]


def test_sound_of_cuts_joins_without_a_seam(tmp_path):
    write_media(
        tmp_path / "in" / "a.mp4",
        picture=Picture(numbered_frames(150)),
        sound=Sound(tone(440, 5.0), codec="aac"),
    )
    pack(tmp_path / "in", tmp_path / "whole", config=options(segment_seconds=60.0))
    pack(tmp_path / "in", tmp_path / "cut", config=options(segment_seconds=1.0))
    whole = packed_samples(tmp_path / "whole")["a"].wave()
    joined = np.concatenate([piece.wave() for piece in pieces(tmp_path / "cut", "a")])
    assert len(joined) == len(whole)
    assert np.abs(joined - whole).max() < 2e-3


def test_pieces_of_one_file_share_a_split(tmp_path):
    for name in "abcdef":
        write_media(tmp_path / "in" / f"{name}.mp4", picture=Picture(numbered_frames(60)))
    config = options(segment_seconds=0.5, splits={"train": 0.5, "test": 0.5})
    pack(tmp_path / "in", tmp_path / "out", config=config)
    splits = {}
    for key, sample in packed_samples(tmp_path / "out").items():
        splits.setdefault(key[0], set()).add(sample.split)
    # All six files hold the same bytes, so they are one group.
    assert len(set.union(*splits.values())) == 1


def test_start_and_end_of_a_table_row(tmp_path):
    write_media(tmp_path / "a.mp4", picture=Picture(numbered_frames(90)), sound=Sound(tone(440, 3)))
    table = tmp_path / "t.csv"
    table.write_text("path,label,start,end\na.mp4,x,0.5,1.5\na.mp4,y,2,\na.mp4,z,7,9\n")
    report = pack(table, tmp_path / "out", config=options())
    found = packed_samples(tmp_path / "out")
    assert read_numbers(found["a"].pictures()) == list(range(15, 45))
    assert read_numbers(found["a-2"].pictures()) == list(range(60, 90))
    assert [found["a"].info.label, found["a-2"].info.label] == [0, 1]
    assert "no frame between 7 s and 9 s" in report.rejects[0].reason


def test_lower_rate_keeps_every_other_frame(tmp_path):
    write_media(tmp_path / "in" / "a.mp4", picture=Picture(numbered_frames(60)))
    pack(tmp_path / "in", tmp_path / "out", config=options(fps=15.0))
    sample = packed_samples(tmp_path / "out")["a"]
    assert sample.info.fps == 15.0
    assert read_numbers(sample.pictures()) == list(range(0, 60, 2))


def test_mag_divides_both_sides(tmp_path):
    frames = numbered_frames(5, width=300, height=200)
    write_media(tmp_path / "in" / "a.mp4", picture=Picture(frames))
    pack(tmp_path / "in", tmp_path / "out", config=options(mag=3))
    info = packed_samples(tmp_path / "out")["a"].info
    assert (info.width, info.height) == (100, 66)


def test_hd_colours_are_converted_to_what_proxies_are_read_with(tmp_path):
    # BT.709 limited Y'CbCr of pure-ish red, from the standard's own equations.
    red, green, blue = 0.8, 0.2, 0.1
    luma = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    y, cb, cr = (
        16 + 219 * luma,
        128 + 224 * (blue - luma) / 1.8556,
        128 + 224 * (red - luma) / 1.5748,
    )
    frame = (
        np.concatenate([np.full(720 * 1280, y), np.full(360 * 640, cb), np.full(360 * 640, cr)])
        .round()
        .astype(np.uint8)
    )
    path = tmp_path / "in" / "hd.mp4"
    path.parent.mkdir()
    with av.open(str(path), "w") as output:
        stream = output.add_stream("libx264", rate=30, options={"crf": "1", "preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = 1280, 720, "yuv420p"
        picture = av.VideoFrame.from_ndarray(frame.reshape(1080, 1280), format="yuv420p")
        output.mux(stream.encode(picture) + stream.encode(None))
    pack(tmp_path / "in", tmp_path / "out", config=options(crf=1))
    with av.open(io.BytesIO(packed_samples(tmp_path / "out")["hd"].video())) as proxy:
        planes = [
            np.frombuffer(memoryview(p), np.uint8) for p in next(proxy.decode(video=0)).planes
        ]
        y, cb, cr = (float(np.median(plane[plane > 0])) for plane in planes)
    # BT.601 read back (section 2.5).
    luma, cb, cr = (y - 16) / 219, (cb - 128) / 224, (cr - 128) / 224
    back_red, back_blue = luma + 1.402 * cr, luma + 1.772 * cb
    back_green = (luma - 0.299 * back_red - 0.114 * back_blue) / 0.587
    assert [back_red, back_green, back_blue] == pytest.approx([red, green, blue], abs=0.006)


def test_copy_keeps_the_bytes_and_says_how_to_read_them(tmp_path):
    source = tmp_path / "in"
    picture = Picture(numbered_frames(40))
    plain = write_media(source / "plain.mp4", picture=picture, sound=Sound(tone(440, 1.3)))
    rotated = rotate_mov(write_media(source / "turned.mov", picture=picture), 90)
    other = write_media(source / "other.webm", picture=Picture(picture.frames, codec="libvpx-vp9"))
    times = np.cumsum([0, *([0.02, 0.05, 0.04] * 5)])
    variable = Picture(numbered_frames(16), times_seconds=times)
    write_media(source / "variable.mp4", picture=variable)
    pack(source, tmp_path / "out", config=options(copy=True, segment_seconds=0.5))
    found = packed_samples(tmp_path / "out")
    assert found["plain"].files["mp4"] == plain.read_bytes()
    assert found["plain"].info.packets is not None
    assert len(found["plain"].wave()) == round(40 / 30 * 16000)
    assert found["turned"].files["mov"] == rotated.read_bytes()
    assert found["turned"].info.rotation_degrees == 270
    assert found["other"].files["webm"] == other.read_bytes()
    assert found["other"].info.packets is None
    assert np.abs(found["variable"].info.times_seconds() - times).max() < 1e-4
    assert verify(tmp_path / "out", num_workers=1).findings == ()


def test_copy_names_its_member_by_what_the_file_is(tmp_path):
    video = write_media(tmp_path / "a.mp4", picture=Picture(numbered_frames(30)))
    webm = write_media(
        tmp_path / "b.webm", picture=Picture(numbered_frames(30), codec="libvpx-vp9")
    )
    names = ["c1", "c2.json", "c3.flac", "c4.parquet", "c5.MOV"]
    for name in names:
        (tmp_path / name).write_bytes(video.read_bytes())
    (tmp_path / "c6.mp4").write_bytes(webm.read_bytes())
    table = tmp_path / "t.csv"
    table.write_text("path,label\n" + "".join(f"{name},x\n" for name in [*names, "c6.mp4"]))
    report = pack(table, tmp_path / "out", config=options(copy=True))
    assert report.rejects == ()
    found = packed_samples(tmp_path / "out")
    assert [set(found[key].files) for key in sorted(found)] == [
        *[{"mp4", "json"}] * 4,
        {"mov", "json"},
        {"mkv", "json"},
    ]
    assert verify(tmp_path / "out", num_workers=1).is_good


def test_copy_cannot_cut(tmp_path):
    for name in "ab":
        write_media(tmp_path / f"{name}.mp4", picture=Picture(numbered_frames(30)))
    table = tmp_path / "t.csv"
    table.write_text("path,label,start,end\na.mp4,x,0.5,1.5\nb.mp4,x,,\n")
    report = pack(table, tmp_path / "out", config=options(copy=True))
    assert [reject.path for reject in report.rejects] == ["a.mp4"]
    assert "pack it without copy" in report.rejects[0].reason


def test_damage_in_the_middle_costs_only_its_segment(tmp_path):
    path = write_media(
        tmp_path / "in" / "a.mp4",
        picture=Picture(numbered_frames(180), codec="mpeg4", options=()),
    )
    with open_media(path) as container:
        packets = [(p.pos, p.size) for p in container.demux(main_streams(container)[0]) if p.size]
    content = bytearray(path.read_bytes())
    for start, size in packets[70:110]:
        content[start : start + size] = bytes(size)
    path.write_bytes(content)
    report = pack(tmp_path / "in", tmp_path / "out", config=options(segment_seconds=2.0))
    found = packed_samples(tmp_path / "out")
    assert read_numbers(found["a-s0000"].pictures()) == list(range(60))
    assert "a-s0001" not in found
    assert report.rejects[0].path == "a.mp4 (from 2.00 s)"
    assert report.rejects[0].stage == "transcode"
