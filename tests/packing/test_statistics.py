"""Channel statistics are those of the clips that a loader delivers, and cost no torch."""

import subprocess
import sys
from fractions import Fraction

import numpy as np
import pytest

import fmrgb_stream as fs
from fmrgb_stream.packing import pack
from fmrgb_stream.packing.statistics import CLIP, CLIPS_A_JOB, PLANES
from tests.support.media import Picture, Sound, noisy, numbered_frames, tone, write_media

NUM_SAMPLES = CLIPS_A_JOB + 2


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    folder = tmp_path_factory.mktemp("source")
    for number in range(NUM_SAMPLES):
        write_media(
            folder / f"{number}.mp4",
            picture=Picture(noisy(numbered_frames(20, first=30 * number)), fps=Fraction(20)),
            sound=Sound(tone(200 + 90 * number, 1.0)),
        )
    return folder


def packed(source, target, stats_samples):
    config = fs.PackConfig(
        splits={"train": 1.0}, num_workers=1, samples_per_shard=7, stats_samples=stats_samples
    )
    return pack(source, target, config=config).manifest


@pytest.mark.parametrize("stats_samples", [3, CLIPS_A_JOB + 1, 2048])
def test_they_are_mean_and_deviation_of_the_first_clips(source, tmp_path, stats_samples):
    manifest = packed(source, tmp_path / "out", stats_samples)
    with fs.build_loader(
        tmp_path / "out", batch_size=1, clip=CLIP, shuffle=False, worker_kind="thread"
    ) as loader:
        clips = np.concatenate([batch.clip.numpy() for batch in loader])[:stats_samples]
    assert manifest.stats_num_clips == min(stats_samples, NUM_SAMPLES)
    for place, plane in enumerate(PLANES):
        values = clips[:, place].astype(np.float64) / 255
        assert manifest.channel_stats[plane].mean == pytest.approx(values.mean(), rel=1e-9)
        assert manifest.channel_stats[plane].std == pytest.approx(values.std(), rel=1e-9)


def test_gray_lies_where_red_green_and_blue_put_it(tmp_path):
    # Long enough for a clip of frames that are all different ones.
    picture = Picture(noisy(numbered_frames(70)), fps=Fraction(20))
    write_media(tmp_path / "in" / "clip.mp4", picture=picture)
    stats = packed(tmp_path / "in", tmp_path / "out", 1).channel_stats
    luma = 0.299 * stats["red"].mean + 0.587 * stats["green"].mean + 0.114 * stats["blue"].mean
    assert stats["gray"].mean == pytest.approx(luma, abs=1 / 255)


def test_packing_loads_no_torch(source, tmp_path):
    code = (
        "import sys, fmrgb_stream as fs\n"
        f"config = fs.PackConfig(num_workers=1, splits={{'train': 1.0}})\n"
        f"fs.pack({str(source)!r}, {str(tmp_path / 'out')!r}, config=config)\n"
        "sys.exit(9 if 'torch' in sys.modules else 0)\n"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
