import logging
from concurrent.futures import ThreadPoolExecutor

import pytest

from fmrgb_stream.errors import TooManyBadSamples
from fmrgb_stream.pipelines.quarantine import BadSample, Quarantine


def quarantine(num_samples=1000, fraction=0.01):
    return Quarantine("substitute", max_bad_fraction=fraction, num_samples=num_samples)


def sample(shard, key, reason="broken"):
    return BadSample(shard=shard, key=key, reason=reason)


def fill(bad, count, *, shard="a.tar"):
    for i in range(count):
        bad.add(sample(shard, f"key-{i}", f"reason {i}"))


def test_a_sample_counts_once():
    bad = quarantine()
    for _ in range(100):
        bad.add(sample("a.tar", "key"))
    assert len(bad) == 1


def test_samples_are_listed_with_their_first_reason():
    bad = quarantine()
    bad.add(sample("a.tar", "key", "first"))
    bad.add(sample("a.tar", "key", "second"))
    assert bad.samples() == (sample("a.tar", "key", "first"),)


def test_the_fraction_of_samples_is_tolerated_and_not_one_more():
    bad = quarantine()
    fill(bad, 10)
    with pytest.raises(TooManyBadSamples, match="11 of 1000"):
        bad.add(sample("a.tar", "one more"))


def test_eight_are_tolerated_in_any_dataset():
    bad = quarantine(num_samples=10, fraction=0.0)
    fill(bad, 8)
    with pytest.raises(TooManyBadSamples):
        bad.add(sample("a.tar", "one more"))


def test_the_message_names_the_first_bad_samples_and_the_cure():
    bad = quarantine(num_samples=10)
    with pytest.raises(TooManyBadSamples, match=r"'key-0' of a\.tar: reason 0.*max_bad_fraction"):
        fill(bad, 9)


def test_each_shard_is_logged_once(caplog):
    bad = quarantine()
    with caplog.at_level(logging.WARNING):
        fill(bad, 3, shard="a.tar")
        fill(bad, 3, shard="b.tar")
    assert len(caplog.records) == 2


def test_many_threads_lose_no_sample():
    bad = quarantine(num_samples=10**6)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda i: bad.add(sample("a.tar", f"key-{i}")), range(500)))
    assert len(bad) == 500
