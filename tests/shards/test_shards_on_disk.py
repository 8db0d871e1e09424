"""Shard files: written once, read back by us and by WebDataset, damage seen."""

import json
import subprocess
import sys
import tarfile
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from webdataset.tariterators import group_by_keys, tar_file_expander

from fmrgb_stream.errors import (
    ManifestError,
    ShardCorrupt,
    ShardNotFound,
    StateMismatch,
    StorageError,
)
from fmrgb_stream.sample import PacketTable
from fmrgb_stream.shards import (
    Manifest,
    ShardReader,
    SplitEntry,
    open_sample,
)
from fmrgb_stream.shards.index import ShardIndex
from fmrgb_stream.shards.position import EpochPlace, EpochPosition
from fmrgb_stream.shards.writer import SampleRecord, ShardWriter, finished_shard, write_atomic
from fmrgb_stream.storage import Store
from tests.support.samples import sample_info

KEYS = ("a/first", "a/second", "b/ünïcode_名前", "last")


def records():
    rng = np.random.default_rng(0)
    for number, key in enumerate(KEYS):
        count = 3 + number
        packets = PacketTable(
            offsets=np.arange(count) * 10,
            sizes=np.full(count, 10),
            is_key=np.arange(count) % 2 == 0,
            pts=np.arange(count) * 512,
        )
        info = sample_info(
            key=key,
            label=None if number == 3 else number,
            targets=(0.5, -1.25) if number == 3 else None,
            num_frames=count,
            has_audio=number != 1,
            extradata=b"same for all",
            packets=None if number == 2 else packets,
            frame_times_seconds=np.array([0.0, 0.1, 0.3, 0.35]) if number == 1 else None,
        )
        files = {"mp4": rng.bytes(1000 + number), "json": b"{}"}
        if info.has_audio:
            files["flac"] = rng.bytes(600)
        yield SampleRecord(info=info, files=files)


def write(root, path="train/shard-000000.tar"):
    writer = ShardWriter(root, path)
    for record in records():
        writer.add(record)
    return writer.finish({"note": "for the test"})


@pytest.fixture
def dataset(tmp_path):
    entry = write(tmp_path)
    split = SplitEntry(shards=(entry,), duration_seconds=1.0, num_groups=1)
    manifest = Manifest(
        pack_config={"crf": 23, "audio_sample_rate": 16000},
        classes=("x", "y", "z"),
        target_names=(),
        splits={"train": split},
        channel_stats={},
    )
    write_atomic(tmp_path / "manifest.json", manifest.to_json().encode())
    return tmp_path


def reader_of(root, **options):
    store = Store(root)
    return ShardReader(store, Manifest.load(store).split("train"), **options)


def test_samples_come_back_as_they_were_written(dataset):
    reader = reader_of(dataset)
    for sample_id, record in enumerate(records()):
        sample = reader.read(sample_id)
        assert sample.info.key == record.info.key
        assert bytes(sample.video) == record.files["mp4"]
        assert (sample.audio is None) == ("flac" not in record.files)
        if sample.audio is not None:
            assert bytes(sample.audio) == record.files["flac"]


def test_index_rows_keep_every_field(dataset):
    reader = reader_of(dataset)
    for sample_id, record in enumerate(records()):
        got, want = reader.info(sample_id), record.info
        for name in ("label", "targets", "fps", "num_frames", "extradata", "codec", "group"):
            assert getattr(got, name) == getattr(want, name), name
        np.testing.assert_array_equal(got.times_seconds(), want.times_seconds())
        assert (got.packets is None) == (want.packets is None)
        if got.packets is not None:
            for name in ("offsets", "sizes", "is_key", "pts"):
                np.testing.assert_array_equal(
                    getattr(got.packets, name), getattr(want.packets, name)
                )


def test_webdataset_reads_the_shard(dataset):
    with (dataset / "train/shard-000000.tar").open("rb") as stream:
        samples = list(group_by_keys(tar_file_expander([{"url": "shard", "stream": stream}])))
    assert [sample["__key__"] for sample in samples] == list(KEYS)
    for sample, record in zip(samples, records(), strict=True):
        assert sample["mp4"] == record.files["mp4"]


def test_the_same_records_give_the_same_bytes(tmp_path):
    for side in ("one", "two"):
        write(tmp_path / side)
    for name in ("train/shard-000000.tar", "train/shard-000000.parquet"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_an_unfinished_shard_has_no_name(tmp_path):
    writer = ShardWriter(tmp_path, "train/shard-000000.tar")
    writer.add(next(records()))
    assert finished_shard(tmp_path, "train/shard-000000.tar") is None
    assert not (tmp_path / "train/shard-000000.tar").exists()
    writer.abort()
    assert list((tmp_path / "train").iterdir()) == []


def test_a_finished_shard_is_recognised_with_its_metadata(tmp_path):
    entry = write(tmp_path)
    found = finished_shard(tmp_path, entry.path)
    assert found is not None
    assert found[0] == entry
    assert found[1].metadata["note"] == "for the test"


@pytest.mark.parametrize("damage", ["flip", "cut", "no sidecar"])
def test_a_damaged_shard_is_not_finished(tmp_path, damage):
    entry = write(tmp_path)
    tar = tmp_path / entry.path
    content = bytearray(tar.read_bytes())
    if damage == "flip":
        content[700] ^= 1
        tar.write_bytes(content)
    elif damage == "cut":
        tar.write_bytes(content[:-512])
    else:
        tar.with_suffix(".parquet").unlink()
    assert finished_shard(tmp_path, entry.path) is None


def test_a_flipped_byte_is_caught_on_read(dataset):
    member = reader_of(dataset).info(1).member("mp4")
    tar = dataset / "train/shard-000000.tar"
    content = bytearray(tar.read_bytes())
    content[member.offset + 5] ^= 0x40
    tar.write_bytes(content)
    with pytest.raises(ShardCorrupt, match=r"a/second\.mp4"):
        reader_of(dataset).read(1)
    assert reader_of(dataset, verify_checksums=False).read(1).video is not None
    assert reader_of(dataset).read(0).video is not None


def test_only_the_wanted_members_are_read(dataset):
    sample = reader_of(dataset).read(0, with_video=False)
    assert sample.video is None
    assert bytes(sample.audio) == next(records()).files["flac"]


def test_many_threads_read_the_same_bytes(dataset):
    reader = reader_of(dataset)
    with ThreadPoolExecutor(4) as pool:
        videos = list(pool.map(lambda i: bytes(reader.read(i % 4).video), range(200)))
    expected = [record.files["mp4"] for record in records()]
    assert videos == [expected[i % 4] for i in range(200)]


def test_a_sample_opens_by_key(dataset):
    sample = open_sample(dataset, "b/ünïcode_名前")
    assert sample.info.label == 2
    with pytest.raises(ManifestError, match="nobody"):
        open_sample(dataset, "nobody")


def test_a_manifest_comes_back_equal(dataset):
    manifest = Manifest.load(Store(dataset))
    again = Manifest.from_json(manifest.to_json(), url="x")
    assert again == manifest
    assert again.fingerprint("train") == manifest.fingerprint("train")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"schema_version": 1}', "not json"])
def test_what_is_no_manifest_is_refused(text):
    with pytest.raises(ManifestError, match="here"):
        Manifest.from_json(text, url="here")


def test_a_newer_manifest_says_so():
    with pytest.raises(ManifestError, match="schema_version 99"):
        Manifest.from_json('{"schema_version": 99}', url="here")


@pytest.mark.parametrize("rate", [None, "16000", 0])
def test_a_manifest_without_a_usable_sound_rate_is_refused(dataset, rate):
    content = json.loads((dataset / "manifest.json").read_text())
    content["pack_config"] |= {"audio_sample_rate": rate}
    if rate is None:
        del content["pack_config"]["audio_sample_rate"]
    with pytest.raises(ManifestError, match="audio_sample_rate"):
        Manifest.from_json(json.dumps(content), url="here")


@pytest.mark.parametrize("name", ["../victim", "", "..", "a/b", "/abs", "x" * 41])
def test_a_split_name_that_is_no_plain_word_is_refused(dataset, name):
    content = json.loads((dataset / "manifest.json").read_text())
    content["splits"] = {name: next(iter(content["splits"].values()))}
    with pytest.raises(ManifestError, match="here: split"):
        Manifest.from_json(json.dumps(content), url="here")


@pytest.mark.parametrize("path", ["../other/shard.tar", "train/../../shard.tar", "/etc/shard.tar"])
def test_a_shard_path_that_leaves_the_root_is_refused(dataset, path):
    content = json.loads((dataset / "manifest.json").read_text())
    content["splits"]["train"]["shards"][0]["path"] = path
    with pytest.raises(ManifestError, match="below the dataset root"):
        Manifest.from_json(json.dumps(content), url="here")


def test_an_unknown_split_names_those_there_are(dataset):
    with pytest.raises(ManifestError, match="train"):
        Manifest.load(Store(dataset)).split("holdout")


def test_what_is_no_sidecar_is_refused(dataset):
    (dataset / "train/shard-000000.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(ManifestError, match="sidecar"):
        reader_of(dataset).info(0)


def test_a_sidecar_of_another_shard_is_refused(dataset):
    writer = ShardWriter(dataset, "other.tar")
    writer.add(next(records()))
    writer.finish({})
    (dataset / "other.parquet").replace(dataset / "train/shard-000000.parquet")
    with pytest.raises(ManifestError, match="1 rows"):
        reader_of(dataset).info(0)


@pytest.mark.parametrize("damage", ["missing", "garbage"])
def test_a_sample_is_described_by_its_row_when_the_sidecar_is_unreadable(dataset, damage):
    sidecar = dataset / "train/shard-000000.parquet"
    sidecar.unlink() if damage == "missing" else sidecar.write_bytes(b"PAR1 no")
    shard, key = reader_of(dataset).describe(2)
    assert shard.endswith("train/shard-000000.tar")
    assert key == "row 2"


def test_an_empty_shard_has_an_index(tmp_path):
    entry = ShardWriter(tmp_path, "train/shard-000000.tar").finish({})
    assert entry.num_samples == 0
    sidecar = (tmp_path / entry.index_path).read_bytes()
    assert len(ShardIndex.from_parquet(sidecar, url="x")) == 0


def test_members_are_regular_files_of_a_fixed_time(dataset):
    with tarfile.open(dataset / "train/shard-000000.tar") as tar:
        assert all(member.isfile() and member.mtime == 0 for member in tar)


def test_missing_files_say_where(tmp_path):
    with pytest.raises(ShardNotFound, match=r"manifest\.json"):
        Manifest.load(Store(tmp_path))
    with pytest.raises(ShardNotFound, match="nowhere"):
        Store(tmp_path / "nowhere").read("manifest.json")


def test_a_range_beyond_the_end_is_an_error(tmp_path):
    (tmp_path / "short").write_bytes(b"0123456789")
    assert Store(tmp_path).read_range("short", start=2, length=3) == b"234"
    with pytest.raises(StorageError, match="short"):
        Store(tmp_path).read_range("short", start=8, length=5)


@pytest.mark.parametrize(("start", "length"), [(-1, 3), (0, 0), (5, -2)])
def test_a_range_that_is_none_is_an_error(tmp_path, start, length):
    (tmp_path / "short").write_bytes(b"0123456789")
    with pytest.raises(StorageError, match="short"):
        Store(tmp_path).read_range("short", start=start, length=length)


def test_a_bug_of_the_caller_is_not_taken_for_unreadable_storage(tmp_path):
    with pytest.raises(TypeError):
        Store(tmp_path).read(5)
    with pytest.raises(TypeError):
        Store(tmp_path).read_range(5, start=0, length=3)


def test_file_urls_and_paths_are_the_same_store(tmp_path):
    folder = tmp_path / "with space"
    folder.mkdir()
    (folder / "x").write_bytes(b"content")
    assert Store(folder.as_uri()).read("x") == Store(folder).read("x") == b"content"


def test_positions_round_trip_and_refuse_strangers():
    position = EpochPosition(
        place=EpochPlace(epoch=2, start=96, position=64), seed=7, fingerprint="abc"
    )
    state = position.to_state()
    assert EpochPosition.from_state(state, seed=7, fingerprint="abc") == position
    for name, value in (("version", 9), ("seed", 8), ("fingerprint", "x"), ("epoch", -1)):
        with pytest.raises(StateMismatch, match=name):
            EpochPosition.from_state(state | {name: value}, seed=7, fingerprint="abc")


def test_a_store_used_after_a_fork_says_so_instead_of_hanging(tmp_path):
    (tmp_path / "x").write_bytes(b"content")
    code = (
        "import os, sys\n"
        "from fmrgb_stream.storage import Store\n"
        "store = Store(sys.argv[1])\n"
        "store.read('x')\n"
        "child = os.fork()\n"
        "if child:\n"
        "    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))\n"
        "try:\n"
        "    store.read('x')\n"
        "except ValueError as error:\n"
        "    os._exit(7 if 'spawn' in str(error) else 1)\n"
        "os._exit(2)\n"
    )
    command = [sys.executable, "-W", "ignore", "-c", code, str(tmp_path)]
    assert subprocess.run(command, timeout=60, check=False).returncode == 7
