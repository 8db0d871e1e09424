"""A node's cache: one download, no torn file, nothing taken from a reader, and no disk too small."""

import dataclasses
import fcntl
import hashlib
import logging
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from fmrgb_stream.errors import ConfigError, ShardUnreadable
from fmrgb_stream.storage import CacheSettings, Store, eviction
from fmrgb_stream.storage.cache import CacheEntry, NodeCache
from fmrgb_stream.storage.eviction import try_lock
from fmrgb_stream.storage.retry import RetryPolicy
from tests.support.origin import Origin

CONTENT = np.random.default_rng(1).bytes(2_000_000)
OTHERS = {f"{n}.tar": np.random.default_rng(n).bytes(100_000 + n) for n in range(8)}
POLICY = RetryPolicy(tries=3, first_pause_seconds=0.01, read_timeout_seconds=0.5)
PROJECT = Path(__file__).parents[2]


@pytest.fixture
def origin():
    with Origin({"a.tar": CONTENT, **OTHERS}) as running:
        yield running


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "cache").mkdir()
    return tmp_path / "cache"


def open_store(origin, folder, max_bytes=1 << 30):
    return Store(
        origin.url(), cache=CacheSettings(folder=folder, max_bytes=max_bytes), policy=POLICY
    )


def names(folder, suffix):
    return [path.name for path in folder.glob(f"*.{suffix}")]


def test_any_number_of_reads_are_one_download(origin, folder):
    store = open_store(origin, folder)
    for start in range(0, len(CONTENT), 500_000):
        assert store.read_range("a.tar", start=start, length=9) == CONTENT[start : start + 9]
    assert origin.num_bytes() == len(CONTENT)
    assert store.counts().num_cache_hits == 4


def test_another_store_reads_what_is_there(origin, folder):
    open_store(origin, folder).read_range("a.tar", start=0, length=9)
    origin.seen.clear()
    assert open_store(origin, folder).read_range("a.tar", start=5, length=9) == CONTENT[5:14]
    assert origin.num_bytes() == 0


def test_a_replaced_object_is_another_entry(origin, folder):
    open_store(origin, folder).read_range("a.tar", start=0, length=9)
    origin.objects["a.tar"] = bytes(len(CONTENT))
    assert open_store(origin, folder).read_range("a.tar", start=0, length=9) == bytes(9)


def test_threads_of_one_process_share_a_download(origin, folder):
    store, got = open_store(origin, folder), []

    def read(start):
        got.append(store.read_range("a.tar", start=start, length=9) == CONTENT[start : start + 9])

    threads = [threading.Thread(target=read, args=(n * 1000,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert got == [True] * 8
    assert origin.num_bytes() == len(CONTENT)


def start_reader(origin, folder):
    return subprocess.Popen(
        [sys.executable, "-m", "tests.support.read_cached", origin.url(), "a.tar", str(folder)],
        cwd=PROJECT,
        stdout=subprocess.PIPE,
        text=True,
    )


def wait_until(is_so, seconds=20):
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_killed_leader_leaves_one_whole_download_to_the_others(origin, folder):
    origin.script("a.tar", "stall-mid")
    leader = start_reader(origin, folder)
    wait_until(lambda: names(folder, "part") and origin.num_bytes() > 0)
    readers = [start_reader(origin, folder) for _ in range(7)]
    for reader in readers:
        assert reader.stdout.readline() == "started\n"
    leader.send_signal(signal.SIGKILL)
    assert leader.wait() == -signal.SIGKILL
    leader.stdout.close()
    results = [reader.communicate(timeout=60)[0].split() for reader in readers]
    assert {digest for digest, _ in results} == {hashlib.sha256(CONTENT).hexdigest()}
    assert sorted(int(fetched) for _, fetched in results) == [0] * 6 + [len(CONTENT)]
    assert names(folder, "part") == []
    assert len(names(folder, "data")) == 1


def test_half_an_object_is_not_published(origin, folder):
    store = open_store(origin, folder)
    store.expect("a.tar", num_bytes=len(CONTENT), sha256=hashlib.sha256(CONTENT).hexdigest())
    origin.script("a.tar", "half", forever=True)
    with pytest.raises(ShardUnreadable, match="the manifest 2000000"):
        store.read_range("a.tar", start=0, length=9)
    assert len(origin.gets()) == 2
    assert names(folder, "data") == names(folder, "part") == []


def test_one_damaged_download_is_repeated(origin, folder):
    store = open_store(origin, folder)
    store.expect("a.tar", num_bytes=len(CONTENT), sha256=hashlib.sha256(CONTENT).hexdigest())
    origin.script("a.tar", "flip")
    assert store.read_range("a.tar", start=0, length=9) == CONTENT[:9]
    assert len(origin.gets("a.tar")) == 2
    assert len(names(folder, "data")) == 1


def test_a_shard_that_stays_damaged_is_not_published(origin, folder, caplog):
    store = open_store(origin, folder)
    store.expect("a.tar", num_bytes=len(CONTENT), sha256="0" * 64)
    assert store.read_range("a.tar", start=0, length=9) == CONTENT[:9]
    assert names(folder, "data") == names(folder, "part") == []
    assert "s3://bucket/a.tar" in caplog.text


def test_a_server_without_ranges_can_fill_the_cache(origin, folder):
    store = open_store(origin, folder)
    origin.script("a.tar", "no-range", forever=True)
    assert store.read_range("a.tar", start=700, length=9) == CONTENT[700:709]


def fill(cache, name, size):
    entry = CacheEntry(url=name, version="1", size=size)
    return entry, cache.open(entry, lambda descriptor: os.write(descriptor, bytes(size)))


def test_the_longest_unused_entry_is_evicted_before_the_download(folder):
    cache = NodeCache(folder, max_bytes=3000, idle_seconds=0.0)
    entries = []
    for number in range(3):
        entry, file = fill(cache, f"{number}", 900)
        os.utime(folder / f"{entry.name}.data", (1000 + number, 1000 + number))
        entries.append(entry)
        del file

    sizes = []

    def download(descriptor):
        sizes.append(sum(p.stat().st_size for p in folder.iterdir() if p.suffix != ".json"))
        os.write(descriptor, bytes(900))

    assert cache.open(CacheEntry(url="new", version="1", size=900), download) is not None
    assert sizes[0] <= 3000
    assert not (folder / f"{entries[0].name}.data").exists()
    assert (folder / f"{entries[2].name}.data").exists()


def test_an_entry_in_use_is_never_evicted(folder):
    cache = NodeCache(folder, max_bytes=1000, idle_seconds=0.0)
    entry, held = fill(cache, "held", 900)
    os.utime(folder / f"{entry.name}.data", (1000, 1000))
    assert fill(cache, "new", 900)[1] is None
    assert held.read(0, 900) == bytes(900)
    assert (folder / f"{entry.name}.data").exists()


def test_an_entry_used_lately_is_not_evicted(folder):
    cache = NodeCache(folder, max_bytes=1000, idle_seconds=60.0)
    fill(cache, "lately", 900)
    assert fill(cache, "new", 900)[1] is None


def test_what_does_not_fit_is_read_without_the_cache_and_said_once(origin, folder, caplog):
    store = open_store(origin, folder, max_bytes=250_000)
    with caplog.at_level(logging.WARNING):
        for name, content in OTHERS.items():
            assert store.read_range(name, start=7, length=9) == content[7:16]
    assert sum(p.stat().st_size for p in folder.glob("*.data")) <= 250_000
    assert sum("read without it" in record.message for record in caplog.records) == 1


def test_the_remains_of_a_killed_process_count_and_go(folder):
    cache = NodeCache(folder, max_bytes=1000, idle_seconds=0.0)
    (folder / "0123.part").write_bytes(bytes(900))
    assert fill(cache, "new", 900)[1] is not None
    assert names(folder, "part") == []


def test_a_download_in_progress_keeps_its_room(folder):
    cache = NodeCache(folder, max_bytes=1000, idle_seconds=0.0)
    (folder / "0123.part").write_bytes(bytes(900))
    with (folder / "0123.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert fill(cache, "new", 900)[1] is None
    assert (folder / "0123.part").exists()


def test_a_wait_for_another_process_ends(folder, caplog):
    cache = NodeCache(folder, max_bytes=1000, wait_seconds=0.1)
    entry = CacheEntry(url="new", version="1", size=900)
    with (folder / f"{entry.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert fill(cache, "new", 900)[1] is None
    assert "waited" in caplog.text


def held_on(folder, held):
    """The locks that are open here, open once more, as a forked child has them."""
    with os.scandir("/proc/self/fd") as places:
        found = [
            int(place.name)
            for place in places
            if (target := Path(place.path).readlink()).parent == folder and target.suffix == ".lock"
        ]
    held += map(os.dup, found)


def is_free(path):
    descriptor = os.open(path, os.O_RDWR)
    try:
        return try_lock(descriptor)
    finally:
        os.close(descriptor)


def test_a_fork_during_a_download_holds_no_lock_on(folder, monkeypatch):
    held, allocated = [], eviction._allocated

    def while_evicting(*values):
        held_on(folder, held)
        return allocated(*values)

    monkeypatch.setattr(eviction, "_allocated", while_evicting)
    entry, _ = fill(NodeCache(folder, max_bytes=1000), "new", 900)
    try:
        assert len(held) == 2
        assert is_free(folder / "evict.lock")
        assert is_free(folder / f"{entry.name}.lock")
    finally:
        for descriptor in held:
            os.close(descriptor)


def test_who_waits_takes_what_is_there_whoever_holds_the_lock(folder):
    entry = CacheEntry(url="new", version="1", size=900)
    published = threading.Timer(0.2, (folder / f"{entry.name}.data").write_bytes, (bytes(900),))
    cache = NodeCache(folder, max_bytes=1000, wait_seconds=5.0)
    with (folder / f"{entry.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        published.start()
        started = time.monotonic()
        file = fill(cache, "new", 900)[1]
    published.join()
    assert file is not None
    assert time.monotonic() - started < 3.0


def test_a_full_disk_is_no_error(origin, folder, caplog):
    """No file may be larger than 1 MB here, which the system tells like a full disk."""
    store = open_store(origin, folder)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, limits[1]))
    try:
        assert store.read_range("a.tar", start=9, length=9) == CONTENT[9:18]
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert names(folder, "part") == names(folder, "data") == []
    assert caplog.text.count("read without it") == 1


def test_a_cache_whose_folder_was_tidied_up_is_done_without(origin, folder, caplog):
    store = open_store(origin, folder)
    folder.rmdir()
    assert store.read_range("a.tar", start=9, length=9) == CONTENT[9:18]
    assert caplog.text.count("read without it") == 1


@pytest.fixture
def small_disk(folder):
    """The folder as a disk of 1 MB."""
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], capture_output=True, text=True
    )
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_disk_smaller_than_the_limit_is_used_as_far_as_it_goes(origin, small_disk, caplog):
    store = open_store(origin, small_disk)
    for _ in range(2):
        for name, content in {**OTHERS, "a.tar": CONTENT}.items():
            assert store.read_range(name, start=70_000, length=99) == content[70_000:70_099]
    assert len(names(small_disk, "data")) == 8
    assert names(small_disk, "part") == []
    assert caplog.text.count("read without it") == 1
    del store


def visit(cache, names, size=100_000):
    """The names of the entries that were downloaded; none is held open."""
    fetched = []
    for name in names:

        def download(descriptor, name=name):
            fetched.append(name)
            os.write(descriptor, bytes(size))

        cache.open(CacheEntry(url=name, version="1", size=size), download)
    return fetched


def test_a_disk_smaller_than_the_limit_downloads_nothing_twice(small_disk):
    cache = NodeCache(small_disk, max_bytes=1 << 30)
    visits = np.random.default_rng(0).permutation([f"{n}" for n in range(20)] * 5)
    fetched = visit(cache, visits.tolist())
    assert len(fetched) == len(set(fetched)) >= 8


def test_a_disk_smaller_than_the_limit_gives_up_only_what_it_must(small_disk):
    cache = NodeCache(small_disk, max_bytes=1 << 30)
    before = visit(cache, [f"{n}" for n in range(20)])
    for place, name in enumerate(before):
        path = small_disk / f"{CacheEntry(url=name, version='1', size=100_000).name}.data"
        os.utime(path, (1000 + place, 1000 + place))
    assert visit(cache, ["new"]) == ["new"]
    assert visit(cache, before[3:]) == []


def test_readers_keep_their_bytes_while_others_evict(origin, folder):
    """Two stores whose limit holds two of eight shards, read by four threads at once."""
    stores = [open_store(origin, folder, max_bytes=250_000) for _ in range(2)]
    for store in stores:
        cache = store._objects._shards
        cache._limits = dataclasses.replace(cache._limits, idle_seconds=0.0)
    wrong = []

    def read(seed):
        places = np.random.default_rng(seed)
        for _ in range(200):
            name = f"{places.integers(8)}.tar"
            start = int(places.integers(90_000))
            store = stores[seed % 2]
            if seed % 3 == 0:
                with store._objects._lock:
                    store._objects._files.clear()
            if store.read_range(name, start=start, length=99) != OTHERS[name][start : start + 99]:
                wrong.append(name)

    threads = [threading.Thread(target=read, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert sum(p.stat().st_size for p in folder.glob("*.data")) <= 250_000
    assert names(folder, "part") == []


def test_a_cache_must_have_a_folder_that_can_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cache_dir"):
        Store("s3://bucket/x", cache=CacheSettings(folder=tmp_path / "file" / "cache"))


@pytest.mark.parametrize("size", [0, "1G", 1e9])
def test_a_cache_must_have_a_size(size):
    with pytest.raises(ConfigError, match=f"cache_bytes={size!r}"):
        CacheSettings(max_bytes=size)
