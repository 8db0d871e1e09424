import io
from dataclasses import replace

import av
import numpy as np
import pytest
from av.video.frame import PictureType

from fmrgb_stream.clips.h264 import is_disposable, nal_length_bytes
from fmrgb_stream.errors import ConfigError, DecodeError
from fmrgb_stream.pipelines.cpu.packets import packet_order
from fmrgb_stream.pipelines.cpu.video import VideoReader
from tests.support.encoded import VideoOptions, encoded_sample
from tests.support.h264 import without_vui
from tests.support.media import numbered_frames, read_numbers

SIZE = (48, 80)
MIDDLE_OF_GOPS = [5, 6, 18, 19, 37, 59]


def shown_numbers(sample, frame_indices, decoder="auto"):
    pictures = VideoReader(decoder, size=SIZE).pictures(sample, frame_indices)
    return read_numbers(pictures.transpose(1, 2, 3, 0))


@pytest.fixture(scope="module")
def plain():
    return encoded_sample(numbered_frames(60))


@pytest.fixture(scope="module")
def b_frames():
    return encoded_sample(numbered_frames(60), options=VideoOptions(b_frames=3))


@pytest.mark.parametrize("decoder", ["auto", "packets", "pyav", "decord"])
@pytest.mark.parametrize("source", ["plain", "b_frames"])
def test_each_decoder_shows_the_frames_asked_for(decoder, source, request):
    sample = request.getfixturevalue(source)
    assert shown_numbers(sample, MIDDLE_OF_GOPS, decoder) == MIDDLE_OF_GOPS


def test_frames_come_in_the_order_asked_for(plain):
    assert shown_numbers(plain, [40, 3, 17]) == [40, 3, 17]


def test_source_of_the_b_frame_test_reorders_frames(b_frames):
    assert (np.diff(b_frames.info.packets.pts) < 0).any()


@pytest.mark.parametrize("x264_params", ["", "open-gop=1"])
def test_frames_far_apart_are_found_whatever_a_gop_begins_with(x264_params):
    # Between them are frames that are not fed; only an IDR picture makes up for that by itself.
    options = VideoOptions(gop=15, b_frames=0, x264_params=x264_params)
    sample = encoded_sample(numbered_frames(90), options=options)
    wanted = [2, 20, 50, 80]
    assert shown_numbers(sample, wanted, "packets") == wanted


def test_frames_of_packed_groups_are_found():
    options = VideoOptions(gop=25, b_frames=7, x264_params="b-adapt=0:b-pyramid=none")
    sample = encoded_sample(numbered_frames(90), options=options)
    for start in range(0, 24, 5):
        wanted = list(range(start, 90, 16))
        assert shown_numbers(sample, wanted, "packets") == wanted


@pytest.mark.parametrize("decoder", ["packets", "pyav"])
def test_every_frame_of_an_open_gop_is_found(decoder):
    options = VideoOptions(b_frames=3, gop=12, x264_params="open-gop=1:b-adapt=0")
    sample = encoded_sample(numbered_frames(60), options=options)
    table = sample.info.packets
    keys = np.flatnonzero(table.is_key)
    assert (table.pts[keys[1] + 1] < table.pts[keys[1]]).all(), "the source has no leading frame"
    reader = VideoReader(decoder, size=SIZE)
    for index in range(60):
        pictures = reader.pictures(sample, [index])
        assert read_numbers(pictures.transpose(1, 2, 3, 0)) == [index]


@pytest.mark.parametrize(
    ("codec", "container", "b_frames"),
    [
        ("libx264", "avi", 2),
        ("libx264", "matroska", 2),
        ("mpeg4", "avi", 2),
        ("mpeg2video", "mpegts", 2),
        ("libvpx-vp9", "webm", 0),
        ("mjpeg", "mov", 0),
    ],
)
def test_file_decoder_counts_frames_right_in_other_containers(codec, container, b_frames):
    pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    color_range = "full" if codec == "mjpeg" else "limited"
    options = VideoOptions(
        codec=codec,
        container=container,
        b_frames=b_frames,
        pix_fmt=pix_fmt,
        color_range=color_range,
    )
    sample = encoded_sample(numbered_frames(40), options=options)
    wanted = [0, 7, 8, 21, 39]
    assert shown_numbers(sample, wanted) == wanted


def test_one_reader_goes_from_sample_to_sample(plain, b_frames):
    reader = VideoReader("auto", size=SIZE)
    for sample in (plain, b_frames, plain):
        pictures = reader.pictures(sample, [33])
        assert read_numbers(pictures.transpose(1, 2, 3, 0)) == [33]


def test_gops_without_wanted_frames_are_skipped(plain):
    order = packet_order(plain.info.packets.pts, plain.info.packets.is_key)
    assert order.runs([2, 50]) == [(0, 3), (48, 51)]


def test_neighbouring_gops_are_decoded_in_one_run(plain):
    order = packet_order(plain.info.packets.pts, plain.info.packets.is_key)
    assert order.runs([15, 16]) == [(0, 17)]


def test_packets_give_the_same_pixels_as_the_file_decoder(b_frames):
    wanted = [4, 9, 30]
    direct = VideoReader("packets", size=SIZE).pictures(b_frames, wanted)
    through_file = VideoReader("pyav", size=SIZE).pictures(b_frames, wanted)
    np.testing.assert_array_equal(direct, through_file)


def test_packets_by_name_refuse_a_sample_without_a_table(plain):
    bare = replace(plain, info=replace(plain.info, packets=None))
    with pytest.raises(ConfigError, match="use 'auto' or 'pyav'"):
        shown_numbers(bare, [0], "packets")


@pytest.mark.parametrize("decoder", ["packets", "pyav"])
def test_index_that_promises_too_many_frames_is_an_error(plain, decoder):
    info = replace(plain.info, num_frames=70)
    with pytest.raises(DecodeError, match="sample-0"):
        shown_numbers(replace(plain, info=info), [65], decoder)


def test_frame_beyond_the_index_is_an_error(plain):
    with pytest.raises(DecodeError, match="frame 60 is wanted of 60"):
        shown_numbers(plain, [60])


def broken_at(sample, packet, how):
    table = sample.info.packets
    start, size = int(table.offsets[packet]), int(table.sizes[packet])
    video = bytearray(sample.video)
    how(video, start, size)
    return replace(sample, video=memoryview(bytes(video)))


def overwrite_header(video, start, _size):
    video[start : start + 4] = b"\xff\xff\xff\xff"


def overwrite_second_half(video, start, size):
    video[start + size // 2 : start + size] = bytes(size - size // 2)


@pytest.mark.parametrize("how", [overwrite_header, overwrite_second_half])
def test_broken_packet_is_an_error_and_the_next_sample_is_not(plain, how):
    reader = VideoReader("packets", size=SIZE)
    with pytest.raises(DecodeError, match="refused a packet"):
        reader.pictures(broken_at(plain, 16, how), [20])
    pictures = reader.pictures(plain, [20])
    assert read_numbers(pictures.transpose(1, 2, 3, 0)) == [20]


def test_member_shorter_than_its_packet_table_is_an_error(plain):
    with pytest.raises(DecodeError, match="ends beyond the member"):
        shown_numbers(replace(plain, video=plain.video[: len(plain.video) // 2]), [1])


@pytest.mark.parametrize("decoder", ["pyav", "decord"])
def test_truncated_file_is_an_error(plain, decoder):
    with pytest.raises(DecodeError):
        shown_numbers(replace(plain, video=plain.video[:500]), [1], decoder)


@pytest.mark.parametrize("decoder", ["packets", "pyav", "decord"])
def test_missing_member_is_an_error(plain, decoder):
    with pytest.raises(DecodeError, match="video member is missing"):
        shown_numbers(replace(plain, video=None), [1], decoder)


@pytest.mark.parametrize("decoder", ["auto", "pyav", "decord"])
def test_picture_of_another_size_than_the_index_says_is_an_error(plain, decoder):
    info = replace(plain.info, width=plain.info.width // 2)
    with pytest.raises(DecodeError, match="is 160x96 pixels, the index says 80x96"):
        shown_numbers(replace(plain, info=info), [1], decoder)


@pytest.mark.parametrize("decoder", ["pyav", "decord"])
def test_member_that_refers_to_another_file_is_an_error(plain, decoder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "clip-003.mp4").write_bytes(plain.video)
    playlist = b"ffconcat version 1.0\nfile clip-003.mp4\n"
    with pytest.raises(DecodeError, match=r"cannot be opened.*sample-0"):
        shown_numbers(replace(plain, video=memoryview(playlist)), [1], decoder)


@pytest.mark.parametrize("decoder", ["pyav", "decord"])
def test_cover_art_is_not_taken_for_the_video(plain, decoder):
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as output:
        sound = output.add_stream("aac", rate=16000)
        cover = output.add_stream("mjpeg", rate=1)
        cover.width, cover.height, cover.pix_fmt = 160, 96, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        picture = av.VideoFrame.from_ndarray(numbered_frames(1)[0], format="rgb24")
        output.mux(cover.encode(picture) + cover.encode(None))
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        silence.sample_rate = 16000
        output.mux(sound.encode(silence) + sound.encode(None))
    with pytest.raises(DecodeError, match="no video stream"):
        shown_numbers(replace(plain, video=memoryview(buffer.getvalue())), [0], decoder)


def test_sound_where_a_picture_is_promised_is_an_error(plain):
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="wav") as output:
        stream = output.add_stream("pcm_s16le", rate=16000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1600), np.int16), layout="mono")
        frame.sample_rate = 16000
        output.mux(stream.encode(frame))
    with pytest.raises(DecodeError, match="no video stream"):
        shown_numbers(replace(plain, video=memoryview(buffer.getvalue())), [1], "pyav")


def table_of(sample):
    """The bytes of each packet in decode order."""
    packets = sample.info.packets
    places = zip(packets.offsets.tolist(), packets.sizes.tolist(), strict=True)
    return [bytes(sample.video[offset : offset + size]) for offset, size in places]


def test_frames_nobody_refers_to_are_told_from_the_others(b_frames):
    length_bytes = nal_length_bytes(b_frames.info.extradata)
    found = [is_disposable(memoryview(x), length_bytes) for x in table_of(b_frames)]
    # Independent: FFmpeg's own parser says the type of each frame.
    with av.open(io.BytesIO(b_frames.video)) as container:
        types = {
            frame.pts: PictureType(frame.pict_type).name for frame in container.decode(video=0)
        }
    shown = [types[pts] for pts in b_frames.info.packets.pts.tolist()]
    assert set(shown) == {"I", "P", "B"}
    # x264 refers to some B-frames (b-pyramid), never leaves an I or P out.
    assert 5 < sum(found) <= shown.count("B")
    assert all(kind == "B" for kind, is_free in zip(shown, found, strict=True) if is_free)


def test_packets_that_cannot_be_read_are_kept():
    slice_of_a_b_frame = memoryview(bytes([0, 0, 0, 2, 0x01, 0xFF]))
    assert is_disposable(slice_of_a_b_frame, 4)
    assert not is_disposable(slice_of_a_b_frame, 0)
    assert not is_disposable(memoryview(b""), 4)
    assert not is_disposable(memoryview(bytes([0, 0, 0, 2, 0x41, 0xFF])), 4), "a P-frame"
    assert not is_disposable(memoryview(bytes([0, 0, 0, 2, 0x65, 0xFF])), 4), "an IDR frame"
    with_parameters = bytes([0, 0, 0, 2, 0x67, 0xFF]) + bytes(slice_of_a_b_frame)
    assert not is_disposable(memoryview(with_parameters), 4)


@pytest.mark.parametrize("wanted", [[9], [3, 11, 19, 27], [50, 51, 58]])
def test_a_stream_that_does_not_say_how_it_is_reordered_loses_no_frame(b_frames, wanted):
    silent = replace(b_frames.info, extradata=without_vui(b_frames.info.extradata))
    reader = VideoReader("packets", size=SIZE)
    for _ in range(2):
        pictures = reader.pictures(replace(b_frames, info=silent), wanted)
        assert read_numbers(pictures.transpose(1, 2, 3, 0)) == wanted


@pytest.mark.parametrize("stride", [1, 2, 3, 4, 7])
def test_frames_left_out_change_no_pixel(b_frames, stride):
    wanted = list(range(stride, 60, stride))
    direct = VideoReader("packets", size=SIZE).pictures(b_frames, wanted)
    np.testing.assert_array_equal(direct, VideoReader("pyav", size=SIZE).pictures(b_frames, wanted))
