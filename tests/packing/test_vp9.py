"""Proxies in VP9: as exact, as reproducible and as readable as those in H.264."""

import io
from fractions import Fraction

import av
import numpy as np
import pytest

import fmrgb_stream as fs
from fmrgb_stream.config import PackConfig
from fmrgb_stream.errors import ConfigError
from fmrgb_stream.packing import verify
from tests.support.datasets import FPS, FRAMES_PER_CLIP, first_number, pack_numbered
from tests.support.media import (
    Picture,
    noisy,
    numbered_frames,
    read_numbers,
    write_media,
)
from tests.support.packed import all_bytes, packed_samples

NUM_CLIPS = 4


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return pack_numbered(tmp_path_factory.mktemp("vp9"), num_clips=NUM_CLIPS, codec="vp9")


def test_members_are_vp9_and_say_so(root):
    for sample in packed_samples(root).values():
        assert sample.info.codec == "vp9"
        with av.open(io.BytesIO(sample.video())) as container:
            context = container.streams.video[0].codec_context
            assert context.name == "vp9"
            assert (int(context.colorspace), int(context.color_range)) == (6, 1)


def test_every_frame_is_there_in_its_place(root):
    for key, sample in packed_samples(root).items():
        first = first_number(int(key.split("-")[1][:3]))
        assert read_numbers(sample.pictures()) == list(range(first, first + FRAMES_PER_CLIP))


def test_the_index_knows_each_packet_and_a_keyframe_every_gop(root):
    for sample in packed_samples(root).values():
        table = sample.info.packets
        assert np.flatnonzero(table.is_key).tolist() == [0, 4, 8]
        assert len(table.pts) == FRAMES_PER_CLIP
        assert np.all(np.diff(table.pts) > 0)


def test_verify_has_nothing_to_say(root):
    report = verify(root, num_workers=1)
    assert report.findings == ()
    assert report.num_decoded == NUM_CLIPS


def test_equal_input_gives_equal_bytes(root, tmp_path):
    again = pack_numbered(tmp_path, num_clips=NUM_CLIPS, codec="vp9")
    assert all_bytes(again) == all_bytes(root)


def test_the_loader_shows_the_frames_of_each_key(root):
    clip = fs.ClipConfig(num_frames=4, frame_stride=2, size=(64, 96), channels="rgb")
    with fs.build_loader(root, batch_size=2, clip=clip, num_workers=1) as loader:
        for batch in loader:
            frames_BTHWC = batch.clip.permute(0, 2, 3, 4, 1).numpy()
            for place, key in enumerate(batch.keys):
                first = first_number(int(key.split("-")[1][:3]))
                indices = np.rint(batch.times_seconds[place].numpy() * float(FPS)).astype(int)
                assert read_numbers(frames_BTHWC[place]) == [first + i for i in indices]


def test_a_better_quality_takes_more_bytes(tmp_path):
    source = noisy(numbered_frames(12, width=96, height=64), level=25)
    write_media(tmp_path / "in" / "a.mp4", picture=Picture(source, Fraction(10)))
    sizes = []
    for crf in (10, 55):
        out = tmp_path / str(crf)
        fs.pack(tmp_path / "in", out, config=PackConfig(codec="vp9", crf=crf, num_workers=1))
        sizes.append(len(next(iter(packed_samples(out).values())).video()))
    assert sizes[0] > 2 * sizes[1]


@pytest.mark.parametrize(("codec", "crf"), [("h264", 52), ("vp9", 64)])
def test_a_quality_beyond_the_codecs_scale_is_refused(codec, crf):
    with pytest.raises(ConfigError, match=f"crf={crf}.*{codec}"):
        PackConfig(codec=codec, crf=crf)


def test_an_unknown_codec_is_refused():
    with pytest.raises(ConfigError, match="codec='av1'"):
        PackConfig(codec="av1")
