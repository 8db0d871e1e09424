"""A cut shows the same frames as the whole, and holds little else."""

import io
from dataclasses import replace

import av
import numpy as np
import pytest

from fmrgb_stream.clips.cut import GopCutter, packets_to_copy
from fmrgb_stream.clips.packets import packet_table
from fmrgb_stream.sample import PacketTable
from tests.support.encoded import VideoOptions, encoded_sample
from tests.support.media import noisy, numbered_frames, read_numbers

NUM_FRAMES = 50
OPTIONS = {
    "h264": VideoOptions(gop=8),
    "h264-b-frames": VideoOptions(gop=8, b_frames=3, x264_params="bframes=3:b-pyramid=none"),
    "hevc": VideoOptions(codec="libx265", gop=8),
    "hevc-b-frames": VideoOptions(codec="libx265", gop=8, b_frames=2),
    "vp9": VideoOptions(codec="libvpx-vp9", gop=8),
}


@pytest.fixture(scope="module")
def samples():
    frames = noisy(numbered_frames(NUM_FRAMES, width=96, height=64))
    return {name: encoded_sample(frames, options=o) for name, o in OPTIONS.items()}


def shown(cut):
    with av.open(io.BytesIO(cut.content)) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    return read_numbers(np.stack(frames)[cut.frame_indices])


@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.parametrize("wanted", [(8,), (17, 21, 25), (30, 31), (44, 49), (9, 40), (23,)])
def test_the_wanted_frames_are_found_by_their_new_indices(samples, name, wanted):
    cut = GopCutter().cut(samples[name], np.array(wanted))
    assert shown(cut) == list(wanted)


@pytest.mark.parametrize("name", OPTIONS)
def test_nothing_before_the_keyframe_and_nothing_after_the_last_is_copied(samples, name):
    cut = GopCutter().cut(samples[name], np.array([26, 27]))
    with av.open(io.BytesIO(cut.content)) as container:
        assert len([p for p in container.demux(video=0) if p.size]) <= 8
    assert len(cut.content) < len(samples[name].video) / 3


@pytest.mark.parametrize("name", OPTIONS)
def test_a_window_in_the_first_group_needs_no_cut(samples, name):
    assert GopCutter().cut(samples[name], np.array([0, 20])) is None
    assert GopCutter().cut(samples[name], np.array([7])) is None


def test_samples_of_two_kinds_do_not_disturb_each_other(samples):
    cutter = GopCutter()
    for _ in range(3):
        for sample in samples.values():
            assert shown(cutter.cut(sample, np.array([18, 33]))) == [18, 33]


@pytest.mark.parametrize("name", OPTIONS)
def test_every_kind_that_can_be_cut_has_a_table_in_the_index(samples, name):
    found, extradata = packet_table(bytes(samples[name].video))
    assert len(found.pts) == NUM_FRAMES
    assert extradata == samples[name].info.extradata


def test_a_file_that_is_not_as_indexed_gives_its_header_to_no_other_sample(samples):
    """Samples with equal index rows share a header, so the first one's file has to be as indexed."""
    frames = noisy(numbered_frames(NUM_FRAMES, width=96, height=64))
    for strange in (
        encoded_sample(frames, options=VideoOptions(gop=8, pix_fmt="yuv444p")),
        encoded_sample(
            noisy(numbered_frames(NUM_FRAMES, width=128, height=64)), options=OPTIONS["h264"]
        ),
    ):
        good, cutter = samples["h264"], GopCutter()
        disguised = replace(strange, info=replace(good.info, packets=strange.info.packets))
        assert cutter.cut(disguised, np.array([30])) is None, "whoever decodes the whole finds out"
        assert shown(cutter.cut(good, np.array([18, 33]))) == [18, 33]


def test_without_a_packet_table_there_is_no_cut(samples):
    sample = samples["h264"]
    bare = replace(sample, info=replace(sample.info, packets=None))
    assert GopCutter().cut(bare, np.array([30])) is None


def test_an_unreadable_header_leaves_the_sample_whole(samples):
    sample = samples["vp9"]
    broken = bytearray(sample.video)
    broken[broken.index(b"moov") :] = bytes(len(broken) - broken.index(b"moov"))
    assert GopCutter().cut(replace(sample, video=memoryview(broken)), np.array([30])) is None


def table(pts, keys):
    count = len(pts)
    return PacketTable(
        offsets=np.arange(count),
        sizes=np.ones(count, np.int64),
        is_key=np.isin(np.arange(count), keys),
        pts=np.array(pts),
    )


def test_an_open_group_is_not_cut_at_its_keyframe():
    # Packet 4 is a keyframe, but packet 5 is shown before it and refers to what came earlier.
    opened = table([0, 10, 20, 30, 50, 40, 60], keys=[0, 4])
    assert packets_to_copy(opened, np.array([5, 6])) is None
    closed = table([0, 10, 20, 30, 40, 60, 50], keys=[0, 4])
    assert packets_to_copy(closed, np.array([5])).first == 4


def test_times_that_repeat_are_not_cut():
    assert packets_to_copy(table([0, 10, 20, 20], keys=[0, 2]), np.array([3])) is None
