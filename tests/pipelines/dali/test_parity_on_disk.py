"""DALI's clips are the CPU pipeline's clips, through packed VP9 shards and both whole loaders."""

import runpy
from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest

import fmrgb_stream as fs
from fmrgb_stream.config import PackConfig
from fmrgb_stream.packing import pack
from tests.support.agree import assert_pipelines_agree

pytest.importorskip("nvidia.dali")

pytestmark = pytest.mark.timeout(100)
WINDOWS = ("random", "centre", "start", "uniform", "sliding")
LENGTH_RULES = ("repeat_last", "subsample_pad", "loop", "zoom")
# The default size: DALI converts colours before it scales, the CPU pipeline scales first, and the
# more a picture shrinks, the more that tells in saturated colours (2.0 of blue at half the size).
CLIP = fs.ClipConfig(
    num_frames=8, frame_stride=2, size=(112, 112), flow=fs.FlowConfig(estimator="lucas_kanade")
)
RULES = list(product(WINDOWS, LENGTH_RULES))
SLIDING = {"window_seconds": 0.9, "hop_seconds": 0.4}
REAL_CLIPS = ("a.mp4", "b.avi", "b.mp4", "muted_b.mp4", "obama_speech.mp4", "park.mp4", "small.mp4")


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo")
    script = Path(__file__).resolve().parents[3] / "tools" / "make_demo.py"
    namespace = runpy.run_path(str(script), run_name="make_demo")
    table = namespace["generate"](folder / "clips", scenes={"train": 1})
    pack(table, folder / "out", config=PackConfig(codec="vp9", num_workers=1))
    return folder / "out"


@pytest.fixture(scope="module")
def real(real_clips, tmp_path_factory):
    """Long and short, HD and small, with sound and without, at constant and at odd rates."""
    folder = tmp_path_factory.mktemp("real")
    sources = folder / "clips"
    sources.mkdir()
    for name in REAL_CLIPS:
        (sources / name).symlink_to(real_clips / name)
    config = PackConfig(codec="vp9", segment_seconds=4.0, splits={"train": 1.0}, num_workers=2)
    pack(sources, folder / "out", config=config)
    return folder / "out"


def ruled(window, length_rule, **changes):
    sliding = SLIDING if window == "sliding" else {}
    return replace(CLIP, window=window, length_rule=length_rule, **sliding, **changes)


@pytest.mark.parametrize(("window", "length_rule"), RULES)
def test_demo_clips_are_the_same(demo, window, length_rule):
    assert_pipelines_agree(demo, ruled(window, length_rule), num_batches=2)


@pytest.mark.parametrize("length_rule", LENGTH_RULES)
def test_demo_clips_longer_than_their_samples_are_the_same(demo, length_rule):
    clip = ruled("random", length_rule, num_frames=24, size=(64, 64))
    assert_pipelines_agree(demo, clip, num_batches=1)


@pytest.mark.slow
@pytest.mark.parametrize(("window", "length_rule"), RULES)
def test_real_clips_are_the_same(real, window, length_rule):
    assert_pipelines_agree(real, ruled(window, length_rule))
