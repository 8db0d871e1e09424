"""Names and tables -> labels, groups, splits and keys."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fmrgb_stream.errors import SourceError
from fmrgb_stream.packing.sources import key_of, list_source, unique


def touch(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return folder


def meaning(listing):
    return {item.relative: (item.label, item.group) for item in listing.items}


def test_first_level_folder_is_the_class(tmp_path):
    touch(tmp_path, "dog/a.mp4", "cat/deep/b.MOV", "cat/c.wav")
    listing = list_source(tmp_path)
    assert listing.classes == ("cat", "dog")
    assert meaning(listing) == {
        "cat/c.wav": ("cat", None),
        "cat/deep/b.MOV": ("cat", None),
        "dog/a.mp4": ("dog", None),
    }


def test_media_directly_in_the_folder_has_no_labels(tmp_path):
    listing = list_source(touch(tmp_path, "b.mp4", "a.mkv", "more/c.avi", "notes.md"))
    assert [item.relative for item in listing.items] == ["a.mkv", "b.mp4", "more/c.avi"]
    assert listing.classes == ()
    assert {item.label for item in listing.items} == {None}


def test_hidden_files_are_no_input(tmp_path):
    touch(tmp_path, "a.mp4", ".DS_Store", "._a.mp4", ".hidden/b.mp4", ".c.mp4")
    assert [item.relative for item in list_source(tmp_path).items] == ["a.mp4"]


def test_link_back_to_a_folder_above_ends(tmp_path):
    touch(tmp_path, "a.mp4")
    (tmp_path / "loop").symlink_to(tmp_path)
    assert [item.relative for item in list_source(tmp_path).items] == ["a.mp4"]


def test_folder_without_media_says_what_would_do(tmp_path):
    with pytest.raises(SourceError, match=r"nothing to pack.*mp4"):
        list_source(touch(tmp_path, "readme.txt"))


def test_source_that_is_not_there_is_named(tmp_path):
    with pytest.raises(SourceError, match="nowhere does not exist"):
        list_source(tmp_path / "nowhere")


def test_ravdess_fields(tmp_path):
    touch(
        tmp_path,
        "Actor_03/01-01-05-02-01-01-03.mp4",
        "Actor_02/video_2/01-01-01-01-02-01-02.mp4",
        "Actor_02/02-01-08-01-02-01-02.mp4",
        "Actor_02/01-02-08-01-02-01-02.mp4",
        "Actor_02/holiday.mp4",
        "Actor_02/01-04-08-01-02-01-02.mp4",
    )
    listing = list_source(tmp_path, parser="ravdess")
    assert listing.classes[0] == "neutral"
    assert listing.classes.index("surprised") == 7
    assert meaning(listing) == {
        "Actor_02/video_2/01-01-01-01-02-01-02.mp4": ("neutral", "actor-02"),
        "Actor_03/01-01-05-02-01-01-03.mp4": ("angry", "actor-03"),
    }
    skipped = {skip.path.rpartition("/")[2]: skip.reason for skip in listing.skipped}
    assert "modality 02" in skipped["02-01-08-01-02-01-02.mp4"]
    assert "song" in skipped["01-02-08-01-02-01-02.mp4"]
    reasons = {reject.path.rpartition("/")[2]: reject.reason for reject in listing.rejects}
    assert set(reasons) == {"holiday.mp4", "01-04-08-01-02-01-02.mp4"}
    assert "seven two-digit fields" in reasons["holiday.mp4"]


def test_cremad_fields(tmp_path):
    touch(tmp_path, "1001_IEO_ANG_HI.flv", "1091_TIE_SAD_XX.flv", "1001_IEO_JOY_HI.flv")
    listing = list_source(tmp_path, parser="cremad")
    assert listing.classes == ("ANG", "DIS", "FEA", "HAP", "NEU", "SAD")
    assert meaning(listing) == {
        "1001_IEO_ANG_HI.flv": ("ANG", "actor-1001"),
        "1091_TIE_SAD_XX.flv": ("SAD", "actor-1091"),
    }
    assert "JOY" in listing.rejects[0].reason


def test_q4_names_and_folders(tmp_path):
    touch(tmp_path, "Q1.MT0000040632.wav", "Q3/MT0000000001.mp3", "unknown.wav")
    listing = list_source(tmp_path, parser="q4")
    assert listing.classes == ("Q1", "Q2", "Q3", "Q4")
    assert meaning(listing) == {
        "Q1.MT0000040632.wav": ("Q1", "song-MT0000040632"),
        "Q3/MT0000000001.mp3": ("Q3", "song-MT0000000001"),
    }
    assert len(listing.rejects) == 1


def test_music_class_is_the_letters_before_the_number(tmp_path):
    touch(tmp_path, "P01/Classicalmusic1_3.mp4", "P02/Popmusic2_1.mp4", "Popmusic12_4/clip.mp4")
    listing = list_source(tmp_path, parser="music")
    assert listing.classes == ("Classicalmusic", "Popmusic")
    assert meaning(listing) == {
        "P01/Classicalmusic1_3.mp4": ("Classicalmusic", "P01"),
        "P02/Popmusic2_1.mp4": ("Popmusic", "P02"),
        "Popmusic12_4/clip.mp4": ("Popmusic", None),
    }


def write_table(folder, name, text):
    touch(folder, "a.mp4", "sub/b c.mp4")
    table = folder / name
    table.write_text(text, encoding="utf-8")
    return table


def test_csv_with_class_names(tmp_path):
    table = write_table(
        tmp_path,
        "t.csv",
        "path,emotion,group,split,start,end\n"
        'a.mp4,happy,g1,train,,\n"sub/b c.mp4",sad,g2,val,1.5,0:03\n',
    )
    listing = list_source(table)
    assert listing.classes == ("happy", "sad")
    second = listing.items[1]
    assert (second.label, second.group, second.split) == ("sad", "g2", "val")
    assert (second.start_seconds, second.end_seconds) == (1.5, 3.0)


def test_csv_with_targets(tmp_path):
    table = write_table(tmp_path, "t.csv", "path;valence;arousal\na.mp4;0.5;-1\n")
    listing = list_source(table)
    assert listing.target_names == ("valence", "arousal")
    assert listing.items[0].targets == (0.5, -1.0)
    assert listing.items[0].label is None


def test_numbers_under_the_name_label_are_classes(tmp_path):
    table = write_table(tmp_path, "t.csv", "path,label\na.mp4,10\nsub/b c.mp4,2\n")
    assert list_source(table).classes == ("2", "10")


def test_one_file_may_stand_in_two_rows(tmp_path):
    table = write_table(tmp_path, "t.csv", "path,label\na.mp4,x\na.mp4,x\n")
    assert [item.key for item in list_source(table).items] == ["a", "a-2"]


def test_jsonl_rows(tmp_path):
    table = write_table(
        tmp_path,
        "t.jsonl",
        '{"path": "a.mp4", "targets": [1, 2.5], "group": "g"}\n\n'
        '{"path": "sub/b c.mp4", "targets": [0, 0], "start": 2, "split": "test"}\n',
    )
    listing = list_source(table)
    assert listing.target_names == ("target_0", "target_1")
    assert listing.items[0].targets == (1.0, 2.5)
    assert (listing.items[1].split, listing.items[1].start_seconds) == ("test", 2.0)


@pytest.mark.parametrize(
    ("name", "text", "complaint"),
    [
        ("t.csv", "path,label\na.mp4,x,y\n", "line 2: 3 cells"),
        ("t.csv", "path,label\na.mp4,\n", "line 2: the label is empty"),
        ("t.csv", "path,u,v\na.mp4,1,2\nsub/b c.mp4,1,two\n", "line 3: v is 'two'"),
        ("t.csv", "path,u,v\na.mp4,1,nan\n", "line 2: v is 'nan'"),
        ("t.csv", "path,label,start,end\na.mp4,x,5,5\n", "line 2: end 5.0 s"),
        ("t.csv", "path,label,start\na.mp4,x,soon\n", "line 2: start is 'soon'"),
        ("t.csv", "path,label,label\na.mp4,x,y\n", "line 1: column names"),
        ("t.csv", "group,label\na,x\n", "line 1: the first column must be the path"),
        ("t.csv", "path,label\n", "no rows"),
        ("t.csv", "", "is empty"),
        ("t.jsonl", '{"path": "a.mp4"\n', "line 1 is not JSON"),
        ("t.jsonl", '{"path": "a.mp4", "lebel": "x"}\n', "line 1: unknown ['lebel']"),
        ("t.jsonl", '{"path": "a.mp4", "label": "x"}\n{"path": "a.mp4"}\n', "line 2: no label"),
    ],
)
def test_wrong_table_names_the_line(tmp_path, name, text, complaint):
    with pytest.raises(SourceError) as caught:
        list_source(write_table(tmp_path, name, text))
    assert complaint in str(caught.value)


def test_row_without_its_file_is_rejected_alone(tmp_path):
    listing = list_source(write_table(tmp_path, "t.csv", "path,label\na.mp4,x\ngone.mp4,x\n"))
    assert [item.relative for item in listing.items] == ["a.mp4"]
    assert listing.rejects[0].path == "gone.mp4"
    assert "line 3" in listing.rejects[0].reason


@given(relative=st.text(min_size=1, max_size=300).filter(lambda t: "\x00" not in t))
def test_keys_are_safe_for_any_name(relative):
    key = key_of(relative)
    assert 0 < len(key.encode()) <= 80
    assert all(c.isalnum() or c in "_-/" for c in key)
    assert not key.startswith("/")
    assert ".." not in key


@given(names=st.lists(st.sampled_from(["a", "a-2", "a-2-2", "b"]), max_size=12))
def test_unique_names_never_meet(names):
    taken = set()
    given_names = [unique(name, taken) for name in names]
    assert len(set(given_names)) == len(names)


def test_long_names_that_differ_at_their_end_get_different_keys():
    assert key_of("x" * 200 + "1.mp4") != key_of("x" * 200 + "2.mp4")


def test_composed_and_decomposed_unicode_is_one_key():
    assert key_of("café.mp4") == key_of("café.mp4")
