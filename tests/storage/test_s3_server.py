"""Against an S3 server: pack to it, verify, stream from it, and what it may do meanwhile."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

import fmrgb_stream as fs
from fmrgb_stream.errors import AccessDenied, PackError
from fmrgb_stream.packing.bucket import pack_to_bucket
from fmrgb_stream.packing.progress import SilentProgress
from fmrgb_stream.storage import Store
from fmrgb_stream.storage.urls import parse_location
from fmrgb_stream.storage.writing import BucketWriter
from tests.support.datasets import write_sources
from tests.support.s3 import moto_server
from tests.support.streaming import (
    NUM_CLIPS,
    check_epoch,
    check_pause,
    check_wrong_secret,
    delivered,
    fmrgb,
    pack_words,
)

PROJECT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def server():
    with moto_server() as running:
        yield running


@pytest.fixture(autouse=True)
def login(server, monkeypatch):
    for name, value in server.environment().items():
        monkeypatch.setenv(name, value)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    folder = tmp_path_factory.mktemp("source")
    return write_sources(folder, num_clips=NUM_CLIPS)


@pytest.fixture
def packed(server, source, tmp_path):
    """A dataset in the bucket, packed there by the command line, once for all tests."""
    root = server.url("packed")
    if not server.sizes("packed/"):
        assert fmrgb(*pack_words(source, root, tmp_path / "staging")) == 0
    return root


def test_packing_puts_all_there_and_leaves_nothing_behind(server, packed, tmp_path):
    sizes = server.sizes("packed/")
    assert len(sizes) == 2 + 2 * 3
    assert sizes["packed/manifest.json"] > 0
    assert not (tmp_path / "staging").exists()
    assert fmrgb("verify", packed, "--num-workers", 1) == 0


def test_an_epoch_is_whole(packed):
    check_epoch(packed)


def test_a_sample_is_opened_by_its_key(packed):
    sample = fs.open_sample(packed, "clip-003")
    assert sample.info.key == "clip-003"
    assert len(sample.video) == sample.info.member("mp4").size


def test_a_wrong_secret_is_denied(packed, monkeypatch):
    check_wrong_secret(packed, monkeypatch, "AWS_SECRET_ACCESS_KEY", "wrong")


def test_anonymous_access_is_denied_where_it_is_not_allowed(server):
    with pytest.raises(AccessDenied):
        Store(server.url("packed", anonymous=True)).read("manifest.json")


def test_a_server_that_pauses_costs_no_sample(server, packed):
    check_pause(server, packed)


def test_a_second_epoch_from_the_cache_fetches_no_byte(packed, tmp_path):
    cache = tmp_path / "cache"
    first = delivered(packed, cache_dir=cache)
    with fs.build_loader(packed, batch_size=2, tail="pad", cache_dir=cache) as loader:
        for _ in loader:
            pass
        reads = loader.stats()["reads"]
    assert sorted(first) == list(range(NUM_CLIPS))
    assert reads["num_cache_hits"] > 0
    assert reads["num_bytes"] <= Store(packed).size("manifest.json")


def test_an_object_of_several_parts_survives_the_way(server, tmp_path):
    content = os.urandom(17 << 20)
    (tmp_path / "large").write_bytes(content)
    writer = BucketWriter(parse_location(server.url("parts")))
    writer.put("folder/large", tmp_path / "large")
    assert {path: found.size for path, found in writer.list().items()} == {
        "folder/large": len(content)
    }
    assert Store(server.url("parts")).read("folder/large") == content
    writer.delete("folder/large")
    assert writer.list() == {}


def test_a_killed_upload_is_continued(server, source, tmp_path):
    root, staging = server.url("resumed"), tmp_path / "staging"
    words = [str(word) for word in pack_words(source, root, staging)]
    command = [sys.executable, "-m", "fmrgb_stream.cli.main", *words]
    process = subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.DEVNULL)
    journal = staging / ".uploaded.jsonl"
    end = time.monotonic() + 60
    while not journal.exists():
        assert time.monotonic() < end
        assert process.poll() is None
        time.sleep(0.001)
    process.kill()
    process.wait()
    assert "resumed/manifest.json" not in server.sizes("resumed/")
    done = [json.loads(line)[0] for line in journal.read_text().splitlines()]
    client = server.client()

    def written(path):
        return client.head_object(Bucket="bucket", Key=f"resumed/{path}")["LastModified"]

    before = {path: written(path) for path in done}
    time.sleep(1.1)  # the server tells whole seconds
    assert fmrgb(*words) == 0
    assert {path: written(path) for path in done} == before
    assert len(server.sizes("resumed/")) == 2 + 2 * 3
    check_epoch(root)


def test_another_dataset_is_not_overwritten_unasked(server, packed, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    table = write_sources(other, num_clips=3)
    words = pack_words(table, packed, tmp_path / "staging")
    assert fmrgb(*words) == 2
    assert len(server.sizes("packed/")) == 2 + 2 * 3


def test_overwriting_removes_what_the_old_dataset_had(server, source, tmp_path):
    root = server.url("replaced")
    assert fmrgb(*pack_words(source, root, tmp_path / "staging")) == 0
    other = tmp_path / "other"
    other.mkdir()
    words = pack_words(write_sources(other, num_clips=3), root, tmp_path / "staging")
    assert fmrgb(*words, "--overwrite") == 0
    assert len(server.sizes("replaced/")) == 2 + 2
    assert sorted(delivered(root)) == [0, 1, 2]


def test_an_object_that_is_not_there_keeps_the_manifest_back(server, tmp_path, monkeypatch):
    written = BucketWriter.put

    def lose_one(self, path, content):
        if not path.endswith("000000.tar"):
            written(self, path, content)

    monkeypatch.setattr(BucketWriter, "put", lose_one)
    location = parse_location(server.url("lost"))
    folder = tmp_path / "in"
    folder.mkdir()
    table = write_sources(folder, num_clips=2)

    def pack_into(staging):
        return fs.pack(table, staging, config=fs.PackConfig(short_side=64, num_workers=1))

    with pytest.raises(PackError, match=r"shard-000000\.tar is not there"):
        pack_to_bucket(
            pack_into, location, staging=tmp_path / "s", overwrite=False, progress=SilentProgress()
        )
    assert "lost/manifest.json" not in server.sizes("lost/")


def small_table(folder, num_clips):
    folder.mkdir()
    return write_sources(folder, num_clips=num_clips)


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_staging_folder_of_somebody_else_is_refused_untouched(server, tmp_path, overwrite):
    home = tmp_path / "home"
    home.mkdir()
    (home / "thesis.txt").write_text("years of work")
    (home / "manifest.json").write_text('{"name": "of a web page"}')
    words = pack_words(small_table(tmp_path / "in", 2), server.url("homely"), home)
    assert fmrgb(*words, *["--overwrite"] * overwrite) == 2
    assert sorted(path.name for path in home.iterdir()) == ["manifest.json", "thesis.txt"]
    assert server.sizes("homely/") == {}


def test_of_a_staging_folder_only_what_was_packed_goes(server, tmp_path):
    staging, root = tmp_path / "staging", server.url("beside")
    words = pack_words(small_table(tmp_path / "in", 2), staging, "unused")
    assert fmrgb(*words) == 0
    (staging / "notes.txt").write_text("mine")
    (staging / "train" / "notes.txt").write_text("mine")
    assert fmrgb(*pack_words(tmp_path / "in", root, staging), "--overwrite") == 0
    left = {str(path.relative_to(staging)) for path in staging.rglob("*") if path.is_file()}
    assert left == {"notes.txt", "train/notes.txt"}


def test_a_stopped_overwriting_leaves_nothing_of_the_old_dataset(
    server, source, tmp_path, monkeypatch
):
    root, staging = server.url("stopped"), tmp_path / "staging"
    assert fmrgb(*pack_words(source, root, staging)) == 0
    words = pack_words(small_table(tmp_path / "other", 3), root, staging)

    def stop(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(BucketWriter, "put", stop)
        assert fmrgb(*words, "--overwrite") != 0
    assert "stopped/manifest.json" not in server.sizes("stopped/")
    assert fmrgb(*words, "--overwrite") == 0
    assert len(server.sizes("stopped/")) == 2 + 2


def test_a_damaged_manifest_is_in_the_way_only_of_who_does_not_overwrite(server, tmp_path, capsys):
    root = server.url("damaged")
    BucketWriter(parse_location(root)).put("manifest.json", b"{")
    words = pack_words(small_table(tmp_path / "in", 2), root, tmp_path / "staging")
    assert fmrgb(*words) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert fmrgb(*words, "--overwrite") == 0
    assert sorted(delivered(root)) == [0, 1]
