"""Packets read without a decoder: where decoding can start."""

import io

import av
import pytest

from fmrgb_stream.clips.h264 import is_entry_point, is_idr, nal_length_bytes
from fmrgb_stream.clips.packets import packet_table
from tests.support.encoded import VideoOptions, encode_video
from tests.support.media import numbered_frames


def keyframes(x264_params, **options):
    """(bytes of each packet that the container calls a keyframe, extradata) of 60 frames."""
    made = VideoOptions(gop=15, x264_params=x264_params, **options)
    content = encode_video(numbered_frames(60), options=made)
    with av.open(io.BytesIO(content)) as container:
        stream = container.streams.video[0]
        packets = [bytes(p) for p in container.demux(stream) if p.size and p.is_keyframe]
        return packets, bytes(stream.codec_context.extradata), content


@pytest.mark.parametrize("x264_params", ["", "open-gop=1"])
def test_decoding_can_start_at_the_keyframes_of_closed_and_open_gops(x264_params):
    packets, extradata, _ = keyframes(x264_params, b_frames=2)
    assert len(packets) >= 4
    length_bytes = nal_length_bytes(extradata)
    assert all(is_entry_point(memoryview(x), length_bytes) for x in packets)


def test_decoding_cannot_start_where_an_intra_refresh_begins():
    packets, extradata, content = keyframes("intra-refresh=1")
    found = [is_entry_point(memoryview(x), nal_length_bytes(extradata)) for x in packets]
    assert len(found) >= 4
    assert found == [True] + [False] * (len(found) - 1)
    table, _ = packet_table(content)
    assert table.is_key.tolist() == [True] + [False] * 59


@pytest.mark.parametrize("x264_params", ["", "open-gop=1"])
def test_only_idr_pictures_forget_all_that_came_before(x264_params):
    packets, extradata, _ = keyframes(x264_params, b_frames=2)
    found = [is_idr(memoryview(x), nal_length_bytes(extradata)) for x in packets]
    # The keyframe of an open GOP leaves frames standing that are shown before it.
    assert found == [True] + [not x264_params] * (len(found) - 1)


def test_what_cannot_be_read_is_what_the_container_says():
    assert is_entry_point(memoryview(b""), 4)
    assert is_entry_point(memoryview(b"\0\0\0\7\6\6"), 4), "cut off inside a message"
