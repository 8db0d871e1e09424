"""Packed clips of the world: nothing is found in clean ones, and the truth in the others."""

import csv

import pytest

from fmrgb_stream.config import PackConfig
from fmrgb_stream.packing import pack, verify

CLEAN = ("obama_speech.mp4", "park.mp4", "small.mp4")
SILENT = ("a.mp4", "b.mp4", "b.avi", "world.mp4")
"""Their sound tracks hold zeros only."""
SAME = ("b.mp4", "b.avi", "muted_b.mp4")
"""One clip by two encoders, and without its sound."""


def packed(folder, names, real_clips, splits):
    rows = [(str(real_clips / name), name[0], name, splits.get(name, "train")) for name in names]
    with (folder / "t.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([("path", "label", "group", "split"), *rows])
    pack(folder / "t.csv", folder / "out", config=PackConfig(num_workers=1, stats_samples=2))
    return folder / "out"


def test_clean_clips_have_no_finding(real_clips, tmp_path):
    root = packed(tmp_path, CLEAN, real_clips, {"park.mp4": "test"})
    assert verify(root, num_workers=1).findings == ()


@pytest.mark.slow
def test_silence_and_the_same_pictures_in_two_splits_are_found(real_clips, tmp_path):
    names = sorted({*SILENT, *SAME})
    root = packed(tmp_path, names, real_clips, {"muted_b.mp4": "test"})
    report = verify(root, num_workers=1)
    assert {finding.check for finding in report.findings} == {"silent", "look-alike"}
    assert {f.key.rpartition("/")[2] for f in report.findings if f.check == "look-alike"} == {
        "b", "b-2",
    }  # fmt: skip
    assert report.is_good


def test_demo_dataset_has_no_finding(pytestconfig):
    assert verify(pytestconfig.rootpath / "shards" / "demo").findings == ()
