"""A flash and a chirp at the same time stay together, whatever container they came in."""

import numpy as np
import pytest

from fmrgb_stream.config import PackConfig
from fmrgb_stream.packing import pack
from tests.support.media import find_chirps
from tests.support.packed import packed_samples
from tests.support.sync import CASES, FLASHES, make

LIMIT_SECONDS = 0.005


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    """Each case once whole and once cut into pieces of 3 s."""
    folder = tmp_path_factory.mktemp("sync")
    for name in CASES:
        make(folder / "in", name)
    found = {}
    for seconds in (60.0, 3.0):
        config = PackConfig(num_workers=1, segment_seconds=seconds, stats_samples=1)
        report = pack(folder / "in", folder / f"out{seconds:g}", config=config)
        assert report.rejects == ()
        assert len({name.partition(".")[0] for name in CASES}) == len(CASES)
        found[seconds] = packed_samples(folder / f"out{seconds:g}")
    return found


def offsets(sample):
    """Chirp time minus flash time, for every flash of a sample."""
    gray_F = sample.pictures().mean(axis=(1, 2, 3))
    flashes = sample.info.times_seconds()[np.flatnonzero(np.diff(gray_F > 128, prepend=0) == 1)]
    if len(flashes) == 0:
        return []
    chirps = np.array(find_chirps(sample.wave(), sample.info.audio_sample_rate))
    # A chirp that a cut goes through cannot be found; the flash of the cut is left out too.
    whole = flashes[flashes < sample.info.duration_seconds - 0.05]
    return [chirps[np.abs(chirps - flash).argmin()] - flash for flash in whole]


@pytest.mark.parametrize("name", CASES)
def test_chirp_meets_flash(packed, name):
    key = name.partition(".")[0]
    found = offsets(packed[60.0][key])
    assert len(found) == len(FLASHES)
    assert np.abs(found).max() <= LIMIT_SECONDS


@pytest.mark.parametrize("name", CASES)
def test_chirp_meets_flash_in_every_segment(packed, name):
    key = name.partition(".")[0]
    pieces = [s for k, s in packed[3.0].items() if k.startswith(f"{key}-s0")]
    found = [offset for piece in pieces for offset in offsets(piece)]
    assert len(found) >= len(FLASHES) - 1
    assert np.abs(found).max() <= LIMIT_SECONDS
