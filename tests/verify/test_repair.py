"""A repaired dataset has every good sample with its bytes, and none of the bad ones."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from fmrgb_stream.cli.main import main
from fmrgb_stream.errors import ConfigError, PackError, ShardNotFound
from fmrgb_stream.packing import repair, verify
from fmrgb_stream.shards.manifest import Manifest
from fmrgb_stream.shards.writer import SampleRecord
from fmrgb_stream.storage import Store
from tests.support.packed import all_bytes, packed_samples
from tests.support.planted import first_file, first_record, put_in, record_of, rewrite


def repaired(root, destination, **options):
    report = verify(root, num_workers=1)
    return repair(root, destination, report, num_workers=1, **options)


@pytest.fixture
def bad(root, odd):
    """A label of no class in train, a frozen video in test, a flipped bit in train's second."""
    rewrite(root, first_record(label=9))
    rewrite(root, put_in(record_of(odd, "frozen")), split="test")
    second = [s for s in packed_samples(root).values() if s.split == "train"][1].info
    tar = root / "train/shard-000000.tar"
    content = bytearray(tar.read_bytes())
    content[second.members[0].offset + 50] ^= 1
    tar.write_bytes(content)
    return root


def test_samples_with_errors_are_left_out_and_the_rest_keeps_its_bytes(bad, tmp_path):
    before = packed_samples(bad)
    done = repaired(bad, tmp_path / "out")
    after = packed_samples(tmp_path / "out")
    train = [key for key, sample in before.items() if sample.split == "train"]
    assert set(before) - set(after) == set(train[:2])
    assert all(after[key].files == before[key].files for key in after)
    assert {reject.path.split()[1] for reject in done.dropped if " " in reject.path} == set(
        train[:2]
    )


def test_repaired_dataset_has_no_errors_and_fresh_statistics(bad, tmp_path):
    repaired(bad, tmp_path / "out")
    report = verify(tmp_path / "out", num_workers=1)
    assert {finding.check for finding in report.findings} == {"frozen"}
    assert Manifest.load(Store(tmp_path / "out")).stats_num_clips == 2


def test_warnings_are_dropped_on_request(bad, tmp_path):
    repaired(bad, tmp_path / "out", drop="warnings")
    assert verify(tmp_path / "out", num_workers=1).findings == ()


def test_source_is_not_written_to(bad, tmp_path):
    before = all_bytes(bad)
    repaired(bad, tmp_path / "out")
    assert all_bytes(bad) == before


def test_second_run_keeps_what_the_first_wrote(bad, tmp_path):
    repaired(bad, tmp_path / "out")
    whole = all_bytes(tmp_path / "out")
    (tmp_path / "out" / "manifest.json").unlink()
    (tmp_path / "out" / ".pack").mkdir()
    shutil.rmtree(tmp_path / "out" / "test")
    note = json.loads(whole["manifest.json"])["pack_config"]["repair_fingerprint"]
    (tmp_path / "out" / ".pack" / "repair.json").write_text(
        json.dumps({"repair_fingerprint": note})
    )
    done = repaired(bad, tmp_path / "out")
    assert done.num_resumed == 5
    assert all_bytes(tmp_path / "out") == whole


def test_folder_with_something_else_is_refused(bad, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("do not touch")
    with pytest.raises(PackError, match="not empty"):
        repaired(bad, tmp_path / "out")


def test_shard_that_verify_could_read_and_repair_cannot_ends_the_repair(root, tmp_path):
    report = verify(root, num_workers=1, decode=0)
    (root / "train/shard-000000.tar").unlink()
    with pytest.raises(ShardNotFound):
        repair(root, tmp_path / "out", report, num_workers=1)


def test_shard_that_verify_could_not_read_is_left_out(root, tmp_path):
    (root / "test/shard-000000.tar").unlink()
    assert set(repaired(root, tmp_path / "out").manifest.splits) == {"train"}


def test_bucket_is_refused_and_no_folder_of_its_name_made(root, tmp_path, monkeypatch):
    report = verify(root, num_workers=1, decode=0)
    monkeypatch.chdir(tmp_path)
    for place in ("s3://bucket/out", Path("s3://bucket/out")):
        with pytest.raises(ConfigError, match="copy it to the bucket"):
            repair(root, place, report, num_workers=1)
    assert not (tmp_path / "s3:").exists()


def test_copy_of_a_sample_that_goes_anyway_is_kept(root, tmp_path):
    """clip0 of train stands in test too, under its own group, which belongs to train."""
    copied = record_of(root, "clip0")

    def copy(row, record):
        if row:
            return record
        info = replace(copied.info, key=record.info.key, label=record.info.label)
        noted = json.loads(record.files["json"]) | {"group": info.group}
        files = {**copied.files, "json": json.dumps(noted).encode()}
        return SampleRecord(info=info, files=files)

    first = next(s for s in packed_samples(root).values() if s.split == "test").info.key
    rewrite(root, copy, split="test")
    repaired(root, tmp_path / "out")
    kept = packed_samples(tmp_path / "out")
    assert "clip0" in kept
    assert first not in kept


def test_sample_that_verify_did_not_decode_costs_a_warning(root, tmp_path):
    rewrite(root, first_file("mp4", lambda content: content[:64] + bytes(len(content) - 64)))
    report = verify(root, decode=0, num_workers=1)
    done = repair(root, tmp_path / "out", report, num_workers=1)
    assert len(done.warnings) == 1
    assert "not in the channel statistics" in done.warnings[0]
    assert done.manifest.stats_num_clips == 1


def test_copy_of_a_sample_with_another_error_is_kept(root, tmp_path):
    """A test sample of no class stands in train too, the larger split."""
    first = next(s for s in packed_samples(root).values() if s.split == "test").info.key
    copied = record_of(root, first)
    rewrite(root, put_in(copied))
    rewrite(root, first_record(label=9), split="test")
    report = verify(root, num_workers=1)
    assert "duplicate" not in {finding.check for finding in report.findings}
    repair(root, tmp_path / "out", report, num_workers=1)
    videos = [sample.files["mp4"] for sample in packed_samples(tmp_path / "out").values()]
    assert copied.files["mp4"] in videos


def test_dataset_of_bad_samples_alone_is_refused(root, tmp_path):
    for tar in root.glob("*/*.tar"):
        tar.write_bytes(b"")
    with pytest.raises(PackError, match="no sample is left"):
        repaired(root, tmp_path / "out")


def test_command_repairs_and_says_one(bad, tmp_path, capsys):
    words = ["verify", str(bad), "--repair", str(tmp_path / "out"), "--num-workers", "1", "--json"]
    assert main(words) == 1
    told = json.loads(capsys.readouterr().out)["repair"]
    assert told["num_samples"] == 8
    assert main(["verify", str(tmp_path / "out"), "--num-workers", "1"]) == 0
