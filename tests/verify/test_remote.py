"""A dataset in a bucket is verified, repaired into a folder, exported and measured like a local one."""

import pytest

from fmrgb_stream.cli.main import main
from fmrgb_stream.config import ExportConfig
from fmrgb_stream.packing import export, repair, verify
from fmrgb_stream.shards import Manifest
from fmrgb_stream.storage import Store
from fmrgb_stream.storage.urls import parse_location
from fmrgb_stream.storage.writing import BucketWriter
from tests.support.origin import Origin
from tests.support.packed import all_bytes, packed_samples
from tests.support.s3 import moto_server


@pytest.fixture
def origin(clean_ten):
    objects = {f"data/{name}": content for name, content in all_bytes(clean_ten).items()}
    with Origin(objects) as served:
        yield served


def spoil(origin, clean_ten):
    """One bit of the second train sample; its key."""
    sample = [s for s in packed_samples(clean_ten).values() if s.split == "train"][1]
    content = bytearray(origin.objects["data/train/shard-000000.tar"])
    content[sample.info.members[0].offset + 40] ^= 1
    origin.objects["data/train/shard-000000.tar"] = bytes(content)
    return sample.info.key


def test_clean_dataset_in_a_bucket_has_no_finding(origin):
    report = verify(origin.url("data"), num_workers=1)
    assert report.findings == ()
    assert report.num_decoded == 10


def test_flipped_bit_in_a_bucket_is_found_and_repaired_into_a_folder(origin, clean_ten, tmp_path):
    key = spoil(origin, clean_ten)
    report = verify(origin.url("data"), num_workers=1)
    assert [f.key for f in report.findings if f.check == "crc32c"] == [key]
    repair(origin.url("data"), tmp_path / "out", report, num_workers=1)
    assert set(packed_samples(tmp_path / "out")) == set(packed_samples(clean_ten)) - {key}


def test_dataset_in_a_bucket_is_exported(origin, clean_ten, tmp_path):
    config = ExportConfig(num_workers=1)
    assert export(origin.url("data"), tmp_path / "far", config=config).num_samples == 10
    export(clean_ten, tmp_path / "near", config=config)
    far, near = all_bytes(tmp_path / "far"), all_bytes(tmp_path / "near")
    assert far == near


def test_statistics_of_a_bucket_are_measured(origin):
    words = ["stats", origin.url("data"), "--dry-run", "--num-workers", "1", "--clips", "2"]
    assert main(words) == 0


def test_statistics_are_written_into_a_bucket(clean_ten, tmp_path, monkeypatch):
    pytest.importorskip("moto", reason="the S3 server of the tests")
    with moto_server() as server:
        for name, value in server.environment().items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("TMPDIR", str(tmp_path))
        root = server.url("data")
        bucket = BucketWriter(parse_location(root))
        for name, content in all_bytes(clean_ten).items():
            bucket.put(name, content)
        assert main(["stats", root, "--num-workers", "1", "--clips", "3"]) == 0
        assert Manifest.load(Store(root)).stats_num_clips == 3
