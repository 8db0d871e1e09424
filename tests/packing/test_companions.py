"""Flow videos and mattes that lie beside the sources: found, checked, stored, and what clips show of them."""

import io
import re
import shutil
from dataclasses import replace

import av
import numpy as np
import pytest

import fmrgb_stream as fs
from fmrgb_stream.config import FlowConfig, PackConfig
from fmrgb_stream.errors import ConfigError, PackError, SourceError
from fmrgb_stream.packing import pack, verify
from fmrgb_stream.shards import Manifest, ShardReader
from fmrgb_stream.storage import Store
from tests.support.media import (
    Picture,
    Sound,
    numbered_frames,
    read_numbers,
    tone,
    write_media,
)
from tests.support.packed import all_bytes, packed_samples
from tests.support.planted import first_file, rewrite

WIDTH, HEIGHT, NUM_FRAMES = 128, 128, 48
LEVEL = 120
CONFIG = PackConfig(num_workers=1, splits={"train": 1.0}, stats_samples=1, crf=10)
CLIP = fs.ClipConfig(num_frames=8, frame_stride=4, size=(64, 64), window="start", channels="fmrgb")
MEMBER = FlowConfig(estimator="member")


def gray_frames(levels):
    """uint8 [F, H, W, 3]: one grey a frame."""
    levels = np.asarray(levels, np.uint8)
    return np.broadcast_to(levels[:, None, None, None], (len(levels), HEIGHT, WIDTH, 3)).copy()


def right_half(num_frames):
    """uint8 [F, H, W, 3]: white on the right, black on the left."""
    frames = gray_frames(np.zeros(num_frames))
    frames[:, :, WIDTH // 2 :] = 255
    return frames


def write(path, frames, **picture):
    return write_media(path, picture=Picture(frames, options=(("qp", "4"),), **picture))


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """in/a.mp4 of one grey with sound; flow/: its frame number times 4; matte/: the right half."""
    root = tmp_path_factory.mktemp("media")
    grey = Picture(gray_frames([LEVEL] * NUM_FRAMES), options=(("qp", "4"),))
    write_media(root / "in" / "a.mp4", picture=grey, sound=Sound(tone(400, 1.6)))
    write(root / "flow" / "a.mp4", gray_frames(4 * np.arange(NUM_FRAMES)))
    write(root / "steady" / "a_flow.mkv", gray_frames([100] * NUM_FRAMES))
    write(root / "matte" / "a_matte.mp4", right_half(NUM_FRAMES))
    return root


@pytest.fixture(scope="module")
def packed(folders, tmp_path_factory):
    """With flow and matte."""
    out = tmp_path_factory.mktemp("packed") / "out"
    config = replace(CONFIG, flow_video=str(folders / "flow"), matte=str(folders / "matte"))
    assert not pack(folders / "in", out, config=config).rejects
    return out


def clip_of(root, clip, **settings):
    """(float64 [C, T, H, W] of the only clip, its batch)."""
    with fs.build_loader(
        root, split="train", batch_size=1, clip=clip, tail="pad", **settings
    ) as one:
        (batch,) = list(one)
    return batch.clip[0].numpy().astype(float), batch


def test_steady_flow_video_gives_that_grey_in_every_frame(folders, tmp_path):
    config = replace(CONFIG, flow_video=str(folders / "steady"))
    pack(folders / "in", tmp_path / "out", config=config)
    planes, batch = clip_of(tmp_path / "out", replace(CLIP, flow=MEMBER))
    assert np.abs(planes[3] - 100).max() <= 2
    assert batch.flow_estimator == "member"


def test_flow_goes_frame_by_frame_with_the_picture(packed):
    planes, _ = clip_of(packed, replace(CLIP, flow=MEMBER))
    truth = 4 * 4 * np.arange(8)
    assert np.abs(planes[3] - truth[:, None, None]).max() <= 2


def test_flow_alone_needs_no_picture_and_comes_unquantised_too(packed):
    clip = replace(CLIP, flow=MEMBER, channels=("flow",), dtype="float32", matte=False)
    planes, _ = clip_of(packed, clip)
    truth = 4 * 4 * np.arange(8) / 255
    assert np.abs(planes[0] - truth[:, None, None]).max() <= 2 / 255


def test_stretched_clip_blends_flow_like_pictures(packed):
    clip = replace(CLIP, num_frames=23, length_rule="zoom", flow=MEMBER)
    planes, _ = clip_of(packed, clip)
    truth = np.linspace(0, 4 * 44, 23)
    assert np.abs(planes[3] - truth[:, None, None]).max() <= 3


def test_segments_and_lower_rates_keep_picture_and_flow_together(folders, tmp_path):
    write(tmp_path / "in" / "n.mp4", numbered_frames(NUM_FRAMES, width=WIDTH, height=HEIGHT))
    shutil.copy(folders / "flow" / "a.mp4", tmp_path / "n.mp4")
    config = replace(CONFIG, segment_seconds=0.8, fps=15.0, flow_video=str(tmp_path))
    pack(tmp_path / "in", tmp_path / "out", config=config)
    samples = packed_samples(tmp_path / "out")
    assert [sample.info.num_frames for _, sample in sorted(samples.items())] == [12, 12]
    for sample in samples.values():
        with av.open(io.BytesIO(sample.files["flow.mp4"])) as container:
            luma = [f.to_ndarray()[:64].mean() for f in container.decode(video=0)]
        assert np.abs(np.array(luma) - 4 * np.array(read_numbers(sample.pictures()))).max() <= 2


def test_matte_hides_the_left_half_of_every_picture(packed):
    planes, _ = clip_of(packed, CLIP)
    assert planes[:3, :, :, :30].max() <= 2
    assert np.abs(planes[:3, :, :, 34:] - LEVEL).max() <= 4


def test_matte_can_be_switched_off(packed):
    planes, _ = clip_of(packed, replace(CLIP, matte=False))
    assert np.abs(planes[:3] - LEVEL).max() <= 4


def test_gray_plane_is_made_of_the_matted_picture(packed):
    planes, _ = clip_of(packed, replace(CLIP, channels=("gray",)))
    assert planes[0, :, :, :30].max() <= 2


def test_channel_statistics_are_those_of_matted_pictures(packed):
    stats = Manifest.load(Store(packed)).channel_stats
    assert abs(stats["red"].mean - LEVEL / 2 / 255) < 0.02


def test_channel_statistics_of_flow_are_those_of_the_flow_video(packed):
    """16 frames cannot be had 4 apart of 48: the clip shows 0, 4, .. 44, and the last one again."""
    shown = np.minimum(4 * np.arange(16), 44)
    stats = Manifest.load(Store(packed)).channel_stats["flow"]
    assert abs(stats.mean - 4 * shown.mean() / 255) < 0.01
    assert abs(stats.std - 4 * shown.std() / 255) < 0.01


def test_matted_sample_goes_to_the_host_under_dali(packed):
    pytest.importorskip("nvidia.dali")
    from fmrgb_stream.pipelines.dali.precheck import why_not_dali
    from fmrgb_stream.pipelines.dali.settings import GraphSettings
    from fmrgb_stream.pipelines.waveform_span import WaveformSpan

    store = Store(packed)
    sample = ShardReader(store, Manifest.load(store).split("train")).read(0, with_matte=True)
    settings = GraphSettings(
        clip=CLIP,
        device="cuda:0",
        estimator="lucas_kanade",
        span=WaveformSpan.of(CLIP, nominal_fps=30.0, sample_rate=16000),
        batch_size=1,
        num_threads=1,
        queue_depth=1,
    )
    assert "matte" in why_not_dali(sample, np.array([0]), settings).reason
    assert not why_not_dali(replace(sample, matte=None), np.array([0]), settings).reason


def test_dali_delivers_matted_pictures_and_says_who_decoded_them(folders, tmp_path, caplog):
    pytest.importorskip("nvidia.dali")
    config = replace(CONFIG, codec="vp9", matte=str(folders / "matte"))
    pack(folders / "in", tmp_path / "out", config=config)
    planes, _ = clip_of(tmp_path / "out", replace(CLIP, channels="rgb"), backend="dali")
    assert planes[:, :, :, :30].max() <= 2
    assert np.abs(planes[:, :, :, 34:] - LEVEL).max() <= 4
    assert "decoded on the host, not by DALI: its picture is multiplied by a matte" in caplog.text


def test_members_are_in_the_index_and_in_the_tar(packed):
    (sample,) = packed_samples(packed).values()
    assert set(sample.files) == {"mp4", "flac", "json", "flow.mp4", "matte.mp4"}
    assert sample.pictures().shape == (NUM_FRAMES, HEIGHT, WIDTH, 3)


def test_second_run_elsewhere_gives_the_same_bytes(folders, packed, tmp_path):
    shutil.copytree(folders, tmp_path / "copy", copy_function=shutil.copyfile)
    copy = tmp_path / "copy"
    config = replace(CONFIG, flow_video=str(copy / "flow"), matte=str(copy / "matte"))
    pack(copy / "in", tmp_path / "out", config=config)
    assert all_bytes(tmp_path / "out") == all_bytes(packed)


def test_other_flow_is_another_dataset(folders, tmp_path):
    config = replace(CONFIG, flow_video=str(folders / "flow"))
    pack(folders / "in", tmp_path / "out", config=config)
    with pytest.raises(PackError, match="holds another dataset"):
        pack(
            folders / "in",
            tmp_path / "out",
            config=replace(CONFIG, flow_video=str(folders / "steady")),
        )


def test_flow_video_beside_its_source_is_no_input_of_its_own(folders, tmp_path):
    shutil.copytree(folders / "in", tmp_path / "in", copy_function=shutil.copyfile)
    shutil.copy(folders / "flow" / "a.mp4", tmp_path / "in" / "aflowoutput.mp4")
    config = replace(CONFIG, flow_video=str(tmp_path / "in"))
    report = pack(tmp_path / "in", tmp_path / "out", config=config)
    assert set(packed_samples(tmp_path / "out")) == {"a"}
    (skipped,) = report.skipped
    assert (skipped.path, skipped.reason) == ("aflowoutput.mp4", "the flow video of a.mp4")


def names_of_errors(root):
    return [finding.check for finding in verify(root).findings if finding.severity == "error"]


def test_verify_finds_nothing_in_a_dataset_with_companions(packed):
    assert names_of_errors(packed) == []


@pytest.mark.parametrize("extension", ["flow.mp4", "matte.mp4"])
def test_verify_finds_a_companion_of_another_length(packed, tmp_path, extension):
    root = shutil.copytree(packed, tmp_path / "dataset")
    shorter = write(tmp_path / "shorter.mp4", gray_frames([9] * 47)).read_bytes()
    rewrite(root, first_file(extension, lambda _: shorter))
    assert names_of_errors(root) == ["companion"]


def test_verify_finds_a_companion_that_is_noise(packed, tmp_path):
    root = shutil.copytree(packed, tmp_path / "dataset")
    rewrite(root, first_file("flow.mp4", lambda content: content[:200] + b"x" * 2000))
    assert names_of_errors(root) == ["companion"]


@pytest.mark.parametrize(
    ("frames", "reason"),
    [
        (None, r"no flow video of it in .*looked for b\.\* or bflowoutput\.\*"),
        (gray_frames([9] * 47), "has 47 frames, the video 48; they must go frame by frame"),
        (
            np.full((48, 64, 128, 3), 9, np.uint8),
            "is 128x64, the video 128x128: not the same shape",
        ),
    ],
    ids=["missing", "shorter", "another shape"],
)
def test_input_whose_flow_does_not_fit_is_rejected_with_the_reason(
    folders, tmp_path, frames, reason
):
    shutil.copytree(folders / "in", tmp_path / "in", copy_function=shutil.copyfile)
    shutil.copytree(folders / "flow", tmp_path / "flow", copy_function=shutil.copyfile)
    write(tmp_path / "in" / "b.mp4", numbered_frames(NUM_FRAMES, width=WIDTH, height=HEIGHT))
    if frames is not None:
        write(tmp_path / "flow" / "b.mp4", frames)
    config = replace(CONFIG, flow_video=str(tmp_path / "flow"))
    report = pack(tmp_path / "in", tmp_path / "out", config=config)
    (reject,) = report.rejects
    assert reject.path == "b.mp4"
    assert re.search(reason, reject.reason), reject.reason
    assert report.num_packed == 1


def test_flow_that_could_go_with_two_sources_goes_with_none(folders, tmp_path):
    for folder in ("x", "y"):
        shutil.copytree(folders / "in", tmp_path / "in" / folder)
    write(tmp_path / "in" / "z" / "b.mp4", numbered_frames(6, width=WIDTH, height=HEIGHT))
    shutil.copytree(folders / "flow", tmp_path / "flow")
    write(tmp_path / "flow" / "z" / "b.mp4", gray_frames([9] * 6))
    config = replace(CONFIG, flow_video=str(tmp_path / "flow"))
    report = pack(tmp_path / "in", tmp_path / "out", config=config)
    assert [reject.path for reject in report.rejects] == ["x/a.mp4", "y/a.mp4"]
    assert "could go with 2 sources" in report.rejects[0].reason
    assert report.num_packed == 1


def test_folder_that_is_not_there_is_told_at_once(folders, tmp_path):
    config = replace(CONFIG, matte=str(tmp_path / "nowhere"))
    with pytest.raises(SourceError, match=r"nowhere is not a folder.*matte"):
        pack(folders / "in", tmp_path / "out", config=config)


def test_member_of_a_dataset_without_flow_videos_is_refused(folders, tmp_path):
    pack(folders / "in", tmp_path / "out", config=CONFIG)
    with pytest.raises(ConfigError, match=r"no flow video; pack it with --flow-video"):
        clip_of(tmp_path / "out", replace(CLIP, flow=MEMBER))


def test_member_has_no_two_planes():
    with pytest.raises(ConfigError, match="'member' has one plane"):
        replace(CLIP, flow=FlowConfig(estimator="member", mode="uv"))
