"""What object stores do to their clients, one fault a test, each with the requests it may cost."""

import time

import numpy as np
import pytest

from fmrgb_stream.errors import (
    AccessDenied,
    RangesUnsupported,
    ShardChanged,
    ShardNotFound,
    ShardUnreadable,
    StorageTimeout,
    StorageUnavailable,
)
from fmrgb_stream.storage import Store
from fmrgb_stream.storage.remote import PART_BYTES
from fmrgb_stream.storage.retry import RetryPolicy
from tests.support.origin import Origin

CONTENT = np.random.default_rng(5).bytes(400_000)
LARGE = np.random.default_rng(6).bytes(PART_BYTES + 300_000)
READ_TIMEOUT = 0.5
POLICY = RetryPolicy(
    tries=3,
    first_pause_seconds=0.01,
    max_pause_seconds=0.02,
    deadline_seconds=20.0,
    read_timeout_seconds=READ_TIMEOUT,
)


@pytest.fixture
def origin():
    with Origin({"train/a.tar": CONTENT, "train/large.tar": LARGE}) as running:
        yield running


@pytest.fixture
def store(origin):
    return Store(origin.url("train"), policy=POLICY)


def read_all(store):
    return store.read_range("a.tar", start=0, length=len(CONTENT))


@pytest.mark.parametrize("fault", ["503", "500", "429", "reset"])
def test_two_faults_that_pass_cost_two_requests(origin, store, fault):
    origin.script("train/a.tar", fault, fault)
    assert read_all(store) == CONTENT
    assert len(origin.gets()) == 3


def test_a_server_that_only_fails_is_given_up_with_url_and_attempts(origin, store):
    origin.script("train/a.tar", "500", forever=True)
    with pytest.raises(StorageUnavailable, match=r"500.*9 attempts.*s3://bucket/train/a\.tar") as e:
        read_all(store)
    assert (e.value.attempts, e.value.url) == (9, "s3://bucket/train/a.tar")
    assert len(origin.gets()) == 9


def test_the_deadline_ends_it_whatever_tries_are_left(origin):
    policy = RetryPolicy(tries=1000, deadline_seconds=1.0, max_pause_seconds=0.1)
    origin.script("train/a.tar", "500", forever=True)
    started = time.monotonic()
    with pytest.raises(StorageUnavailable):
        Store(origin.url("train"), policy=policy).read("a.tar")
    assert time.monotonic() - started < 3


@pytest.mark.parametrize("fault", ["reset-mid", "short"])
def test_a_body_that_breaks_off_three_times_is_whole_in_the_end(origin, store, fault):
    origin.script("train/a.tar", fault, fault, fault)
    assert read_all(store) == CONTENT
    # The client resumes twice from where it broke; then the part is asked for anew.
    assert len(origin.gets()) == 4
    assert origin.num_bytes() <= 2 * len(CONTENT)


def test_only_the_broken_part_is_fetched_again(origin, store):
    origin.script("train/large.tar", "reset-mid", "reset-mid", "reset-mid")
    assert store.read_range("large.tar", start=0, length=len(LARGE)) == LARGE
    assert origin.num_bytes() <= len(LARGE) + PART_BYTES


@pytest.mark.parametrize("fault", ["stall-mid", "stall"])
def test_a_stall_ends_with_the_read_timeout(origin, store, fault):
    origin.script("train/a.tar", fault)
    started = time.monotonic()
    assert read_all(store) == CONTENT
    assert READ_TIMEOUT <= time.monotonic() - started < READ_TIMEOUT + 1
    assert len(origin.gets()) == 2


def test_a_server_that_never_answers_is_a_timeout(origin):
    policy = RetryPolicy(tries=1, inner_retries=0, read_timeout_seconds=0.2)
    origin.script("train/a.tar", "stall", forever=True)
    with pytest.raises(StorageTimeout):
        Store(origin.url("train"), policy=policy).read("a.tar")
    assert len(origin.gets()) == 1


def test_a_slow_body_that_moves_costs_no_retry(origin, store):
    origin.script("train/a.tar", "trickle")
    started = time.monotonic()
    assert read_all(store) == CONTENT
    assert time.monotonic() - started > 2 * READ_TIMEOUT
    assert len(origin.gets()) == 1
    assert store.counts().num_retries == 0


def test_an_object_replaced_while_its_body_breaks_is_told_and_not_mixed(origin, store):
    origin.script("train/a.tar", "replaced-mid")
    with pytest.raises(ShardChanged, match=r"s3://bucket/train/a\.tar"):
        read_all(store)
    assert len(origin.gets()) <= 3


def test_an_object_replaced_between_two_reads_is_told(origin, store):
    store.read_range("a.tar", start=0, length=10)
    origin.script("train/a.tar", "replaced")
    with pytest.raises(ShardChanged):
        store.read_range("a.tar", start=10, length=10)
    assert len(origin.gets()) == 2
    assert origin.gets()[1].if_match is not None


def test_a_server_without_ranges_is_told_where_parts_are_needed(origin, store):
    origin.script("train/a.tar", "no-range", forever=True)
    with pytest.raises(RangesUnsupported, match="cache_dir"):
        store.read_range("a.tar", start=100, length=10)
    assert len(origin.gets()) == 2


def test_a_server_without_ranges_still_gives_whole_objects(origin, store):
    origin.script("train/a.tar", "no-range", forever=True)
    assert store.read("a.tar") == CONTENT
    assert [seen.range is None for seen in origin.gets()] == [False, False, True]


def test_half_an_object_that_looks_whole_is_asked_for_again(origin, store):
    store.expect("a.tar", num_bytes=len(CONTENT), sha256="")
    origin.script("train/a.tar", "half")
    assert read_all(store) == CONTENT
    assert len(origin.gets()) == 2


def test_half_an_object_twice_is_an_error(origin, store):
    store.expect("a.tar", num_bytes=len(CONTENT), sha256="")
    origin.script("train/a.tar", "half", forever=True)
    with pytest.raises(ShardUnreadable, match="the manifest 400000"):
        read_all(store)
    assert len(origin.gets()) == 2


def test_a_missing_object_costs_one_request(origin, store):
    with pytest.raises(ShardNotFound, match=r"s3://bucket/train/nobody\.tar"):
        store.read("nobody.tar")
    assert len(origin.gets()) == 1


def test_a_refused_object_costs_one_request(origin, store):
    origin.script("train/a.tar", "403", forever=True)
    with pytest.raises(AccessDenied, match="credentials"):
        store.read("a.tar")
    assert len(origin.gets()) == 1


@pytest.mark.parametrize("fault", ["redirect", "other-region"])
def test_another_region_is_told_at_once(origin, store, fault):
    origin.script("train/a.tar", fault, forever=True)
    with pytest.raises(StorageUnavailable, match=r"another region; set AWS_REGION or \?region="):
        store.read("a.tar")
    assert len(origin.gets()) == 1


@pytest.mark.parametrize("fault", ["expired", "401"])
def test_expired_credentials_are_taken_anew_once(origin, store, fault):
    origin.script("train/a.tar", fault)
    assert store.read("a.tar") == CONTENT
    assert len(origin.gets()) == 2


@pytest.mark.parametrize("fault", ["expired", "401"])
def test_credentials_that_stay_expired_are_denied(origin, store, fault):
    origin.script("train/a.tar", fault, forever=True)
    with pytest.raises(AccessDenied):
        store.read("a.tar")
    assert len(origin.gets()) == 2


def test_a_range_behind_the_end_is_not_asked_for_twice(origin, store):
    with pytest.raises(ShardUnreadable):
        store.read_range("a.tar", start=len(CONTENT) + 5, length=10)
    assert len(origin.gets()) == 1


def test_a_range_that_reaches_over_the_end_is_an_error(store):
    with pytest.raises(ShardUnreadable, match="asked for 20 bytes"):
        store.read_range("a.tar", start=len(CONTENT) - 10, length=20)


def test_a_server_that_is_not_there_is_unavailable():
    policy = RetryPolicy(tries=2, inner_retries=0, first_pause_seconds=0.01)
    with pytest.raises(StorageUnavailable, match="refuses the connection after 2 attempts"):
        Store("http://127.0.0.1:9/data", policy=policy).read("a.tar")
