"""From file to batch: the flash's frame holds the chirp in the middle of its mel plane."""

import numpy as np
import pytest

import fmrgb_stream as fs
from fmrgb_stream.config import PackConfig
from fmrgb_stream.storage import Store
from tests.support.media import CHIRP_SECONDS
from tests.support.sync import CASES, NUM_FRAMES, make

LIMIT_SECONDS = 0.005
HEIGHT, WIDTH = 64, 112


@pytest.fixture(scope="module")
def batches(tmp_path_factory):
    """One batch a case, whole, in default mel settings: {name: ClipBatch}."""
    folder = tmp_path_factory.mktemp("sync")
    for name in CASES:
        make(folder / "in", name)
    config = PackConfig(num_workers=1, segment_seconds=60.0, stats_samples=1)
    fs.pack(folder / "in", folder / "out", config=config)
    clip = fs.ClipConfig(
        num_frames=NUM_FRAMES,
        frame_stride=1,
        size=(HEIGHT, WIDTH),
        channels=("red", "mel"),
        window="start",
        length_rule="subsample_pad",
    )
    found = {}
    for split in fs.Manifest.load(Store(folder / "out")).splits:
        with fs.build_loader(
            folder / "out", split=split, batch_size=1, clip=clip, shuffle=False
        ) as loader:
            found |= {batch.keys[0]: batch for batch in loader}
    return found


def chirp_times(mel_THW):
    """Where in each frame's plane the chirp's energy is centred, seconds from the frame's time."""
    power_TW = (10 ** ((mel_THW.astype(np.float64) / 255 - 1) * 8)).sum(axis=1)
    seconds_W = ((np.arange(WIDTH) + 0.5) / WIDTH - 0.5) * fs.MelConfig().window_seconds
    # Only the chirp nearest to the middle: the next one is at least 0.8 s away.
    near_TW = power_TW * (np.abs(seconds_W) < 0.12)
    return (near_TW * seconds_W).sum(axis=1) / near_TW.sum(axis=1)


@pytest.mark.parametrize("name", sorted(CASES))
def test_the_chirp_is_in_the_middle_of_the_flash_frames_plane(batches, name):
    batch = batches[name.rpartition(".")[0]]
    red_THW, mel_THW = batch.clip[0].numpy()
    flashes = np.flatnonzero(np.diff(red_THW.mean(axis=(1, 2)) > 128, prepend=0) == 1)
    assert len(flashes) >= 4
    # The chirp is symmetric about its middle, half its length after its start.
    starts = chirp_times(mel_THW[flashes]) - CHIRP_SECONDS / 2
    assert np.abs(starts).max() <= LIMIT_SECONDS, starts
