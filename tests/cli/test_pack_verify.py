"""`fmrgb pack` and `fmrgb verify`: exit codes, what they print, how they refuse."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from fmrgb_stream.cli.main import main
from fmrgb_stream.cli.verify import parse_decode
from tests.support.media import Picture, four_bad_files, numbered_frames, write_media


@pytest.fixture
def source(tmp_path):
    write_media(tmp_path / "in" / "a.mp4", picture=Picture(numbered_frames(20)))
    return tmp_path / "in"


def fmrgb(*words):
    return main([str(word) for word in words])


def test_good_folder_packs_and_verifies_with_zero(source, tmp_path, capsys):
    assert fmrgb("pack", source, tmp_path / "out", "--num-workers", 1) == 0
    assert "1 samples in" in capsys.readouterr().out
    assert fmrgb("verify", tmp_path / "out") == 0
    assert "0 errors" in capsys.readouterr().out


def test_bad_inputs_give_one_and_reasons_as_json(source, tmp_path, capsys):
    four_bad_files(source)
    assert fmrgb("pack", source, tmp_path / "out", "--num-workers", 1, "--json") == 1
    captured = capsys.readouterr()
    report = json.loads(captured.out)
    assert captured.err == ""
    assert (report["num_packed"], report["num_rejected"]) == (1, 4)
    assert {reject["stage"] for reject in report["rejects"]} == {"probe"}


def test_a_destination_named_like_markup_is_printed_as_it_is(source, tmp_path, capsys):
    four_bad_files(source)
    assert fmrgb("pack", source, tmp_path / "out[/x]", "--num-workers", 1) == 1
    assert "out[/x]" in capsys.readouterr().out.replace("\n", "")


def test_flags_reach_the_config(source, tmp_path, capsys):
    code = fmrgb(
        "pack", source, tmp_path / "out", "--num-workers", 1, "--short-side", 48,
        "--splits", "{train: 0.0, val: 1.0}", "--json",
    )  # fmt: skip
    assert code == 0
    assert list(json.loads(capsys.readouterr().out)["splits"]) == ["val"]
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["pack_config"]["short_side"] == 48


def test_yaml_file_gives_flags(source, tmp_path):
    (tmp_path / "pack.yaml").write_text("crf: 40\nnum_workers: 1\n")
    assert fmrgb("pack", source, tmp_path / "out", "--config", tmp_path / "pack.yaml") == 0
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["pack_config"]["crf"] == 40


def test_broken_dataset_gives_one(source, tmp_path, capsys):
    fmrgb("pack", source, tmp_path / "out", "--num-workers", 1)
    next((tmp_path / "out").glob("*/*.parquet")).unlink()
    capsys.readouterr()
    assert fmrgb("verify", tmp_path / "out", "--json") == 1
    assert json.loads(capsys.readouterr().out)["num_errors"] >= 1


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["pack", "nowhere", "out"], "nowhere does not exist"),
        (["pack", ".", "out", "--crf", "99"], "crf=99 must lie in 0..51"),
        (["pack", ".", "out", "--parser", "guess"], "guess"),
        (["pack", "."], "destination"),
        (["verify", "nowhere"], "no such folder"),
        (["verify", "nowhere", "--num-workers", "-1"], "num_workers=-1 must be"),
        (["verify", "nowhere", "--num-workers", "0"], "num_workers=0 must be"),
        (["verify", "nowhere", "--decode", "some"], "--decode 'some'"),
        (["verify", "nowhere", "--decode", "²"], "--decode '²'"),
        (["pack", ".", "out", "--preset", "quick"], "quick"),
        (["unpack"], "no command 'unpack'"),
    ],
)
def test_unusable_input_gives_two_and_one_clear_message(words, part, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert fmrgb(*words) == 2
    error = capsys.readouterr().err
    assert part in error
    assert "Traceback" not in error


def test_debug_shows_where_it_came_from(tmp_path):
    with pytest.raises(Exception, match="does not exist"):
        fmrgb("pack", tmp_path / "nowhere", tmp_path / "out", "--debug")


class FullDisk:
    """A command that meets a full disk."""

    NAME = "pack"
    HELP = ""

    def configure(self, parser):
        """No flags."""

    def run(self, arguments):
        Path("/dev/full").write_text("x" if arguments else "")


def test_full_disk_gives_two_and_one_line(monkeypatch, capsys):
    monkeypatch.setattr("fmrgb_stream.cli.main._load", lambda _: FullDisk())
    assert fmrgb("pack") == 2
    error = capsys.readouterr().err
    assert error == "fmrgb pack: error: [Errno 28] No space left on device\n"
    with pytest.raises(OSError, match="No space"):
        fmrgb("pack", "--debug")


def test_decode_words():
    assert [parse_decode(text) for text in ("all", "none", "12")] == [None, 0, 12]


def test_files_that_the_parser_leaves_out_are_no_problem(tmp_path, capsys):
    name = "01-01-05-02-01-01-03"
    write_media(tmp_path / "in" / f"{name}.mp4", picture=Picture(numbered_frames(20)))
    for other in ("02-01-05-02-01-01-03.mp4", "03-01-05-02-01-01-03.wav"):
        (tmp_path / "in" / other).write_bytes(b"x")
    words = ["pack", tmp_path / "in", tmp_path / "out", "--num-workers", 1, "--parser", "ravdess"]
    assert fmrgb(*words) == 0
    assert "2 files skipped" in capsys.readouterr().out
    assert fmrgb(*words, "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["num_skipped"], report["num_rejected"]) == (2, 0)
    lines = (tmp_path / "out" / "rejects.jsonl").read_text().splitlines()
    assert [json.loads(line)["stage"] for line in lines] == ["parser", "parser"]


def test_help_names_every_flag(capsys):
    assert fmrgb("pack", "--help") == 0
    text = capsys.readouterr().out
    for flag in ("--segment-seconds", "--mag", "--copy", "--fps", "--overwrite", "--json"):
        assert flag in text


def test_help_loads_nothing_heavy():
    code = (
        "import sys; from fmrgb_stream.cli.main import main; main(['pack', '--help']);"
        "sys.exit(bool({'torch', 'av', 'webdataset', 'pyarrow'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], stdout=subprocess.DEVNULL).returncode == 0
