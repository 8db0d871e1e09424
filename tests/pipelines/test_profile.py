"""Counts of two moments -> what limits a loader, and the advice."""

import pytest

from fmrgb_stream.pipelines.counters import PipelineCounts
from fmrgb_stream.pipelines.profile import LoaderSetting, profile_of
from fmrgb_stream.storage import ReadCounts

BEFORE = PipelineCounts(
    num_workers=2, num_batches_limit=3, num_clips=100, read_seconds=7.0, decode_seconds=1.0,
    idle_seconds=50.0, wait_seconds=4.0, reads=ReadCounts(num_bytes=10, num_requests=1),
)  # fmt: skip


def profile(*, usable_cores=2, backend="cpu", is_remote=False, has_cache=False, wait=9.0, **spent):
    """Of 10 s with two workers, whose stages took these seconds."""
    stages = ("read", "decode", "flow", "audio", "idle", "wait")
    taken = dict.fromkeys(stages, 0.0) | spent | {"wait": wait}
    values = {f"{s}_seconds": getattr(BEFORE, f"{s}_seconds") + taken[s] for s in stages}
    reads = ReadCounts(num_bytes=5_000_010, num_requests=101, num_retries=2)
    after = PipelineCounts(num_workers=2, num_batches_limit=3, num_clips=600, reads=reads, **values)
    setting = LoaderSetting(
        usable_cores=usable_cores, backend=backend, is_remote=is_remote, has_cache=has_cache
    )
    return profile_of(BEFORE, after, seconds=10.0, setting=setting)


def test_shares_and_rates_are_those_of_the_stretch_alone():
    found = profile(read=2.0, decode=8.0, flow=4.0, audio=1.0, idle=3.0)
    assert found.clips_per_second == 50
    assert found.bytes_per_second == 500_000
    assert found.reads == ReadCounts(num_bytes=5_000_000, num_requests=100, num_retries=2)
    expected = {"read": 0.1, "decode": 0.4, "flow": 0.2, "audio": 0.05, "other": 0.1}
    assert found.stage_shares == pytest.approx(expected)
    assert found.idle_share == pytest.approx(0.15)
    assert found.wait_share == pytest.approx(0.9)


@pytest.mark.parametrize(
    ("spent", "setting", "limit", "advice"),
    [
        ({"read": 12.0, "decode": 6.0}, {"is_remote": True}, "read", "cache_dir"),
        ({"read": 12.0}, {"is_remote": True, "has_cache": True}, "read", "the first epoch"),
        ({"read": 12.0, "decode": 6.0}, {}, "read", "disk"),
        ({"decode": 12.0, "flow": 7.0}, {"usable_cores": 8}, "decode", "from 2 to 8"),
        ({"decode": 12.0, "flow": 7.0}, {}, "decode", "--short-side"),
        ({"decode": 12.0}, {"backend": "dali"}, "decode", "decode= place"),
        ({"flow": 12.0, "decode": 7.0}, {}, "flow", "leave flow out"),
        ({"audio": 12.0, "decode": 7.0}, {}, "audio", "sound plane"),
        ({"decode": 5.0, "idle": 1.0}, {}, "other", "use the cores"),
        ({"decode": 5.0}, {"backend": "dali"}, "other", "graph"),
        ({"decode": 8.0, "idle": 11.0}, {}, "prefetch", "at most 3"),
        ({"decode": 8.0, "idle": 11.0}, {"wait": 0.1}, "consumer", "nothing"),
    ],
)
def test_the_stage_that_limits_is_named_with_its_cure(spent, setting, limit, advice):
    found = profile(**setting, **spent)
    assert found.limit == limit
    assert advice in found.advice
