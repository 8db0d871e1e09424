"""The soak finds what grows, and a short one finds nothing."""

import subprocess

import numpy as np
import pytest

from benchmarks.growth import ProcessLook, growths, look, median_slope
from benchmarks.soak import bars_of, soak


def looks_of(rss_mb, *, num_threads=9):
    return [
        ProcessLook(rss_mb=mb, pss_mb=400.0, num_processes=1, num_threads=num_threads, num_files=20)
        for mb in rss_mb
    ]


def missed(batches, looks):
    return {growth.name for growth in growths(batches, looks) if not growth.bar().is_met}


def test_the_slope_is_that_of_the_line_under_spikes():
    at = np.arange(100.0)
    values = 5 + 0.25 * at
    values[[17, 60, 61]] += 1000
    assert median_slope(at, values) == pytest.approx(0.25)


def test_a_steady_leak_under_noise_is_found():
    rng = np.random.default_rng(0)
    batches = list(range(0, 10_000, 50))
    leaking = 500 + np.array(batches) * 0.003 + rng.normal(0, 2, len(batches))
    assert missed(batches, looks_of(leaking)) == {"rss_mb"}


def test_warming_up_and_noise_are_no_leak():
    rng = np.random.default_rng(1)
    batches = list(range(0, 10_000, 50))
    rss = 500 - 200 * np.exp(-np.array(batches) / 500) + rng.normal(0, 3, len(batches))
    assert missed(batches, looks_of(rss)) == set()


def test_one_more_thread_every_thousand_batches_is_found():
    batches = list(range(0, 10_000, 50))
    looks = [looks_of([500.0], num_threads=9 + batch // 1000)[0] for batch in batches]
    assert missed(batches, looks) == {"num_threads"}


def test_a_look_counts_files_and_threads(tmp_path):
    before = look()
    with (tmp_path / "a").open("w"), (tmp_path / "b").open("w"):
        assert look().num_files == before.num_files + 2
    assert before.num_threads >= 1
    assert 0 < before.pss_mb <= before.rss_mb


def test_a_look_counts_processes_that_were_started():
    before = look()
    with subprocess.Popen(["sleep", "30"]) as process:
        assert look().num_processes == before.num_processes + 1
        process.kill()


def test_a_short_soak_meets_bad_samples_and_does_not_grow(tmp_path):
    soaked = soak(tmp_path, num_batches=128, num_epochs=4)
    assert soaked.num_batches == 128
    assert soaked.num_substitutes == 4 * 4  # one sample of each of the four shards, every epoch
    assert [str(bar) for bar in bars_of(soaked, num_batches=128) if not bar.is_met] == []


def test_a_planted_leak_is_found(tmp_path):
    kept = []

    def leak(_):
        # Plain beside 2 % of what this process holds after all the other tests.
        kept.append(np.ones(1 << 21, np.uint8))
        kept.append((tmp_path / f"{len(kept)}").open("w"))

    try:
        soaked = soak(tmp_path / "data", num_batches=120, num_epochs=2, on_batch=leak)
    finally:
        for file in kept[1::2]:
            file.close()
    bars = bars_of(soaked, num_batches=120)
    grown = {bar.name.removeprefix("growth of ") for bar in bars if not bar.is_met}
    assert grown == {"rss_mb", "pss_mb", "num_files"}
