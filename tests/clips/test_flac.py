"""Where the blocks of FLAC files lie, against the packets that FFmpeg's demuxer finds."""

import io

import av
import numpy as np
import pytest
import soundfile

from fmrgb_stream.clips.flac import add_seek_table, flac_layout

SEEK_TABLE, POINT_BYTES = 3, 18


def flac(num_samples, *, rate=16000, subtype="PCM_16", channels=1, level=0.5):
    rng = np.random.default_rng(num_samples)
    sound = rng.integers(-9000, 9000, (num_samples, channels)).astype(np.int16)
    buffer = io.BytesIO()
    soundfile.write(buffer, sound, rate, format="FLAC", subtype=subtype, compression_level=level)
    return buffer.getvalue()


def block_starts(content):
    with av.open(io.BytesIO(content)) as container:
        sizes = [packet.size for packet in container.demux(audio=0) if packet.size]
    return (len(content) - sum(sizes) + np.cumsum([0, *sizes])).tolist()


def metadata_kinds(content):
    kinds, place = [], 4
    while not kinds or not kinds[-1] & 0x80:
        kinds.append(content[place])
        place += 4 + int.from_bytes(content[place + 1 : place + 4])
    return kinds


FILES = pytest.mark.parametrize(
    ("num_samples", "rate", "level"),
    [
        (96000, 16000, 0.5),
        (4096, 22050, 0.5),
        (4097, 48000, 0.5),
        (300, 44100, 0.5),
        (70000, 12345, 0.25),
        (30000, 11025, 0.0),
        (9000, 192000, 1.0),
        (600_000, 8000, 0.0),
    ],
)


@FILES
def test_every_block_is_found_by_its_header(num_samples, rate, level):
    content = flac(num_samples, rate=rate, level=level)
    layout = flac_layout(memoryview(content))
    found = [layout.find_block(memoryview(content), k) for k in range(layout.num_blocks + 1)]
    assert found == block_starts(content)


@FILES
def test_seek_points_lead_to_every_block(num_samples, rate, level):
    content = add_seek_table(flac(num_samples, rate=rate, level=level))
    layout = flac_layout(memoryview(content))
    first, *_ = starts = block_starts(content)
    points = [
        content[layout.seek_points + k * POINT_BYTES :][:POINT_BYTES]
        for k in range(layout.num_blocks)
    ]
    assert [int.from_bytes(x[8:16]) + first for x in points] == starts[:-1]
    assert [int.from_bytes(x[:8]) for x in points] == [
        k * layout.block_samples for k in range(layout.num_blocks)
    ]
    assert sum(int.from_bytes(x[16:]) for x in points) == num_samples


def test_layout_is_what_the_file_says():
    layout = flac_layout(memoryview(flac(10_000, rate=11025)))
    assert (layout.sample_rate, layout.num_samples, layout.num_blocks) == (11025, 10_000, 3)


def test_seek_table_changes_no_sample():
    content = flac(50_000)
    before, _ = soundfile.read(io.BytesIO(content), dtype="int16")
    with_table = add_seek_table(content)
    with soundfile.SoundFile(io.BytesIO(with_table)) as file:
        file.seek(33_333)
        np.testing.assert_array_equal(file.read(dtype="int16"), before[33_333:])
    assert len(with_table) == len(content) + 4 + 13 * POINT_BYTES


def test_seek_table_is_added_once():
    content = add_seek_table(flac(50_000))
    assert add_seek_table(content) == content


def test_seek_table_may_be_the_last_metadata():
    content = flac(20_000)
    comment_bytes = 4 + int.from_bytes(content[43:46])
    bare = content[:4] + b"\x80" + content[5:42] + content[42 + comment_bytes :]
    with_table = add_seek_table(bare)
    assert metadata_kinds(with_table) == [0, SEEK_TABLE | 0x80]
    found, _ = soundfile.read(io.BytesIO(with_table), dtype="int16")
    np.testing.assert_array_equal(found, soundfile.read(io.BytesIO(content), dtype="int16")[0])


def test_a_wrong_seek_table_is_not_believed():
    content = bytearray(add_seek_table(flac(20_000)))
    right = block_starts(bytes(content))
    layout = flac_layout(memoryview(content))
    offset_of_block_2 = layout.seek_points + 2 * POINT_BYTES + 8
    content[offset_of_block_2 : offset_of_block_2 + 8] = (1 << 63).to_bytes(8)
    assert layout.find_block(memoryview(content), 2) == right[2]


def test_a_missing_block_is_not_found():
    content = flac(20_000)
    starts = block_starts(content)
    without = memoryview(content[: starts[2]] + content[starts[3] :])
    assert flac_layout(without).find_block(without, 2) is None


@pytest.mark.parametrize(
    "content",
    [
        flac(9000, channels=2),
        flac(9000, subtype="PCM_24"),
        flac(9000)[:60],
        flac(9000)[:90],
        b"fLaC",
        b"fLaC\x80\0\0\0",
        b"",
        b"RIFF" + bytes(100),
    ],
    ids=[
        "stereo",
        "24 bits",
        "cut metadata",
        "cut header",
        "marker",
        "no stream info",
        "empty",
        "another format",
    ],
)
def test_other_files_have_no_layout_and_get_no_table(content):
    assert flac_layout(memoryview(content)) is None
    assert add_seek_table(content) == content
