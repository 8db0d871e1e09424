import json
import shutil
from pathlib import Path

import pytest

from fmrgb_stream.channels import CHANNELS
from fmrgb_stream.cli import demo
from fmrgb_stream.cli.main import main
from fmrgb_stream.errors import ConfigError
from fmrgb_stream.shards.manifest import Manifest
from fmrgb_stream.storage import Store

DATASET = Path(__file__).resolve().parents[2] / "shards" / "demo"


def test_the_committed_dataset_is_small_and_balanced():
    manifest = Manifest.load(Store(DATASET))

    assert sum(path.stat().st_size for path in DATASET.rglob("*")) <= 6_000_000
    assert len(manifest.classes) == 8
    assert {name: split.num_samples % 8 for name, split in manifest.splits.items()} == {
        "train": 0,
        "val": 0,
        "test": 0,
    }


def test_the_dataset_of_the_checkout_is_found_from_anywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    assert demo.find_dataset(None) == DATASET


def test_a_folder_without_a_manifest_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"manifest\.json"):
        demo.find_dataset(tmp_path)


def test_a_package_without_its_checkout_names_the_cure(tmp_path, monkeypatch):
    monkeypatch.setattr("fmrgb_stream.__file__", str(tmp_path / "site" / "pkg" / "__init__.py"))

    with pytest.raises(ConfigError, match="--root"):
        demo.find_dataset(None)


def test_the_contact_sheet_pairs_clips_that_share_nothing():
    names = ["red-slow-low", "red-fast-high", "blue-fast-high", "blue-fast-low"]

    assert demo._two_unlike(names) == (0, 2)


def test_a_broken_shard_ends_the_demo_before_training(tmp_path, capsys):
    root = tmp_path / "demo"
    shutil.copytree(DATASET, root)
    shard = root / "test" / "shard-000000.tar"
    content = bytearray(shard.read_bytes())
    content[2000] ^= 255  # inside the first member
    shard.write_bytes(content)

    code = main(["demo", "--root", str(root), "--out", str(tmp_path / "out")])

    assert code == 1
    assert "3. Train" not in capsys.readouterr().out


def test_one_epoch_writes_every_file_and_says_that_the_bars_are_missed(tmp_path, capsys):
    code = main(["demo", "--out", str(tmp_path), "--epochs", "1"])

    assert code == 1
    assert "wanted >= 0.95" in capsys.readouterr().out
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "contact_sheet.png",
        "curves.png",
        "metrics.jsonl",
        "results.json",
        "table.md",
    ]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_whole_demo_meets_its_bars(tmp_path, capsys):
    code = main(["demo", "--out", str(tmp_path), "--json"])

    variants = json.loads(capsys.readouterr().out)["variants"]
    assert code == 0
    full, *ablated = [variant["test"]["score"] for variant in variants]
    assert full >= 0.95
    assert max(ablated) <= 0.60


def test_each_ablation_drops_one_kind_and_keeps_the_order():
    from fmrgb_stream.training.ablation import FULL_AND_WITHOUT_EACH

    full, *ablated = [variant.channels for variant in FULL_AND_WITHOUT_EACH]

    assert full == CHANNELS
    assert ablated == [
        ("red", "green", "blue", "mel"),
        ("red", "green", "blue", "flow"),
        ("flow", "mel"),
    ]
