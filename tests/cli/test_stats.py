"""`fmrgb stats`: what it measures is what packing measured, and it writes all or nothing."""

import json

import pytest

from fmrgb_stream.cli.main import main
from fmrgb_stream.shards.manifest import Manifest
from fmrgb_stream.storage import Store
from tests.support.datasets import pack_numbered


@pytest.fixture
def root(tmp_path):
    return pack_numbered(tmp_path, num_clips=3)


def forget(root):
    content = json.loads((root / "manifest.json").read_text())
    content["channel_stats"]["red"] = {"mean": 0.5, "std": 0.5}
    (root / "manifest.json").write_text(json.dumps(content))


def stats(root, *words):
    return main(["stats", str(root), "--num-workers", "1", *words])


def test_statistics_are_measured_as_packing_measured_them(root):
    packed = (root / "manifest.json").read_text()
    forget(root)
    assert stats(root) == 0
    assert (root / "manifest.json").read_text() == packed


def test_dry_run_shows_and_does_not_write(root, capsys):
    measured = Manifest.load(Store(root)).channel_stats["red"]
    forget(root)
    before = (root / "manifest.json").read_text()
    assert stats(root, "--dry-run", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["channel_stats"]["red"]["mean"] == measured.mean
    assert (root / "manifest.json").read_text() == before


def test_fewer_clips_are_measured_on_request(root, capsys):
    assert stats(root, "--clips", "2", "--json") == 0
    assert json.loads(capsys.readouterr().out)["num_clips"] == 2
    assert Manifest.load(Store(root)).stats_num_clips == 2


def test_table_shows_the_numbers_before(root, capsys):
    forget(root)
    assert stats(root) == 0
    assert "0.5000" in capsys.readouterr().out


def test_dataset_without_a_train_split_is_refused(root, capsys):
    content = json.loads((root / "manifest.json").read_text())
    content["splits"] = {"test": content["splits"]["train"]}
    (root / "manifest.json").write_text(json.dumps(content))
    assert stats(root) == 2
    assert "no split 'train'" in capsys.readouterr().err


def test_no_clips_is_a_usage_error(root, capsys):
    assert stats(root, "--clips", "0") == 2
    assert "max_clips" in capsys.readouterr().err
