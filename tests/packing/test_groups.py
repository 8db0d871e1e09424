"""Equal pictures share a split, whatever their groups are called."""

import shutil

import pytest

from fmrgb_stream.config import PackConfig
from fmrgb_stream.errors import SourceError
from fmrgb_stream.packing import pack
from tests.support.media import Picture, numbered_frames, write_media
from tests.support.packed import packed_samples

CONFIG = PackConfig(num_workers=1, stats_samples=1, splits={"train": 0.5, "test": 0.5})


def packed(folder, text):
    write_media(folder / "a.mp4", picture=Picture(numbered_frames(60)))
    shutil.copyfile(folder / "a.mp4", folder / "b.mp4")
    write_media(folder / "c.mp4", picture=Picture(numbered_frames(30)))
    table = folder / "t.csv"
    table.write_text(text)
    report = pack(table, folder / "out", config=CONFIG)
    return report, packed_samples(folder / "out")


def test_copies_tie_their_named_groups_together(tmp_path):
    # Alone, g0 and g4 go to different splits.
    text = "path,label,group\na.mp4,x,g0\nb.mp4,x,g4\nc.mp4,x,g4\n"
    report, samples = packed(tmp_path, text)
    assert len({sample.split for sample in samples.values()}) == 1
    assert {sample.info.group for sample in samples.values()} == {"g0"}
    assert len(report.warnings) == 1
    assert "a.mp4 and b.mp4 hold the same content" in report.warnings[0]


def test_copy_without_a_group_joins_the_named_one(tmp_path):
    report, samples = packed(tmp_path, "path,label,group\na.mp4,x,g0\nb.mp4,x,\n")
    assert {sample.info.group for sample in samples.values()} == {"g0"}
    assert report.warnings == ()


def test_copies_in_two_explicit_splits_are_an_error_that_names_both(tmp_path):
    text = "path,label,group,split\na.mp4,x,g0,train\nb.mp4,x,g1,test\n"
    with pytest.raises(SourceError, match=r"a\.mp4.*b\.mp4"):
        packed(tmp_path, text)


def test_stretches_apart_of_one_file_may_differ_in_group(tmp_path):
    text = "path,label,group,split,start,end\na.mp4,x,g0,train,0,1\na.mp4,x,g1,test,1,2\n"
    report, samples = packed(tmp_path, text)
    assert {s.info.group: s.split for s in samples.values()} == {"g0": "train", "g1": "test"}
    assert report.warnings == ()


def test_overlapping_stretches_of_one_file_are_one_group(tmp_path):
    text = "path,label,group,start,end\na.mp4,x,g0,0,1.5\nb.mp4,x,g1,1,2\n"
    _, samples = packed(tmp_path, text)
    assert {sample.info.group for sample in samples.values()} == {"g0"}
