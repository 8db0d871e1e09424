"""What a probe says of files whose truth is known."""

import struct
from fractions import Fraction

import av
import numpy as np
import pytest

from fmrgb_stream.clips.packets import packet_table
from fmrgb_stream.clips.probe import probe
from fmrgb_stream.errors import RejectedInput
from tests.support.media import (
    Picture,
    Sound,
    four_bad_files,
    numbered_frames,
    rotate_mov,
    tone,
    write_media,
)

NTSC = Fraction(30000, 1001)


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.mov", "a.ts"])
def test_exact_rate_is_found_in_every_container(tmp_path, name):
    kind = "mpegts" if name.endswith(".ts") else None
    path = write_media(
        tmp_path / name, picture=Picture(numbered_frames(40), fps=NTSC), container=kind
    )
    video = probe(path).video
    assert (video.fps, video.is_constant_rate, video.num_frames) == (NTSC, True, 40)


def test_variable_times_are_those_that_were_written(tmp_path):
    times = np.cumsum([0, *([0.02, 0.05, 0.033, 0.11] * 6)])
    picture = Picture(numbered_frames(len(times)), times_seconds=times)
    found = probe(write_media(tmp_path / "v.mp4", picture=picture)).video
    assert not found.is_constant_rate
    assert np.abs(found.frame_times_seconds() - times).max() < 2e-5


def test_b_frames_are_in_presentation_order(tmp_path):
    picture = Picture(numbered_frames(50), options=(("bf", "3"), ("preset", "veryfast")))
    found = probe(write_media(tmp_path / "b.mp4", picture=picture)).video
    assert np.abs(found.frame_times_seconds() - np.arange(50) / 30).max() < 1e-9


@pytest.mark.parametrize(("clockwise", "counter_clockwise"), [(90, 270), (180, 180), (270, 90)])
def test_rotation_is_the_turn_that_shows_it_upright(tmp_path, clockwise, counter_clockwise):
    path = write_media(tmp_path / "r.mov", picture=Picture(numbered_frames(5)))
    assert probe(rotate_mov(path, clockwise)).video.rotation_degrees == counter_clockwise


def test_bytes_are_probed_like_a_file(tmp_path):
    path = write_media(
        tmp_path / "a.mp4", picture=Picture(numbered_frames(9)), sound=Sound(tone(440, 0.5))
    )
    assert probe(path.read_bytes()) == probe(path)


def test_cover_art_is_no_video(tmp_path):
    path = tmp_path / "song.m4a"
    with av.open(str(path), "w", format="mp4") as output:
        sound = output.add_stream("aac", rate=48000)
        sound.layout = "mono"
        cover = output.add_stream("mjpeg", rate=1)
        cover.width, cover.height, cover.pix_fmt = 64, 48, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        frame = av.AudioFrame.from_ndarray(tone(440, 1.0)[None], format="fltp", layout="mono")
        frame.sample_rate = 48000
        picture = av.VideoFrame.from_ndarray(numbered_frames(1)[0][:48, :64], format="rgb24")
        output.mux(cover.encode(picture) + cover.encode(None))
        output.mux(sound.encode(frame) + sound.encode(None))
    found = probe(path)
    assert found.video is None
    assert found.audio is not None


def test_limits_reject_what_is_too_large_or_too_long(tmp_path):
    path = write_media(tmp_path / "a.mp4", picture=Picture(numbered_frames(30)))
    with pytest.raises(RejectedInput, match="160x96 pixels, the limit is 1000"):
        probe(path, max_pixels=1000)
    with pytest.raises(RejectedInput, match="the limit is"):
        probe(path, max_duration_seconds=0.5)


def test_bad_files_are_rejected_with_their_reason(tmp_path):
    reasons = []
    for path in four_bad_files(tmp_path):
        with pytest.raises(RejectedInput) as caught:
            probe(path)
        reasons.append(caught.value.reason)
    for reason, part in zip(reasons, ["empty", "plain text", "moov", "zero video"], strict=True):
        assert part in reason


def test_file_that_breaks_off_inside_its_media_is_rejected(tmp_path):
    path = write_media(
        tmp_path / "a.mp4",
        picture=Picture(numbered_frames(60)),
        container_options={"movflags": "faststart"},
    )
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(RejectedInput, match=r"cut off: box mdat needs 500 more bytes"):
        probe(path)


def test_junk_behind_the_last_box_does_no_harm(tmp_path):
    path = write_media(tmp_path / "a.mp4", picture=Picture(numbered_frames(60)))
    path.write_bytes(path.read_bytes() + b"13 more bytes")
    assert probe(path).video.num_frames == 60


def test_playlist_named_mp4_opens_nothing_else(tmp_path):
    write_media(tmp_path / "secret.mp4", picture=Picture(numbered_frames(5)))
    playlist = tmp_path / "video.mp4"
    # The zero byte gets it past the look at its text.
    playlist.write_bytes(b"#EXTM3U\n#EXTINF:1,\nsecret.mp4\n#EXT-X-ENDLIST\n\x00")
    with pytest.raises(RejectedInput):
        probe(playlist)


def test_packet_table_slices_are_the_packets(tmp_path):
    path = write_media(
        tmp_path / "a.mp4", picture=Picture(numbered_frames(40)), sound=Sound(tone(440, 1.3))
    )
    content = path.read_bytes()
    table, extradata = packet_table(content)
    decoder = av.CodecContext.create("h264", "r")
    decoder.extradata = extradata
    packets = []
    for offset, size, pts in zip(table.offsets, table.sizes, table.pts, strict=True):
        # In an mp4 every packet is a chain of (4-byte length, NAL unit).
        assert struct.unpack(">I", content[offset : offset + 4])[0] <= size - 4
        packet = av.Packet(content[offset : offset + size])
        packet.pts = int(pts)
        packets.append(packet)
    frames = [f for p in [*packets, None] for f in decoder.decode(p)]
    assert len(frames) == 40


@pytest.mark.parametrize(("name", "codec"), [("a.mkv", "libx264"), ("a.mp4", "mpeg4")])
def test_packets_that_cannot_be_proven_give_no_table(tmp_path, name, codec):
    path = write_media(tmp_path / name, picture=Picture(numbered_frames(9), codec=codec))
    assert packet_table(path.read_bytes()) is None


def test_sound_that_goes_on_without_a_picture_is_told(tmp_path):
    path = write_media(
        tmp_path / "a.mp4", picture=Picture(numbered_frames(15)), sound=Sound(tone(440, 4.0))
    )
    (warning,) = probe(path).warnings
    assert "goes on for 3.5 s" in warning


def test_files_joined_byte_by_byte_are_rejected(tmp_path):
    path = write_media(tmp_path / "a.ts", picture=Picture(numbered_frames(60)), container="mpegts")
    path.write_bytes(path.read_bytes() * 2)
    with pytest.raises(RejectedInput, match=r"clock jumps back by"):
        probe(path)
