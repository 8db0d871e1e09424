"""`fmrgb inspect`, `preview` and `visualize`: exit codes, what they print and write, how they refuse."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from fmrgb_stream.cli.main import main
from fmrgb_stream.viewing.sample_card import read_sample_card
from tests.support.datasets import pack_numbered
from tests.support.viewed import pack_odd, page_data

SMALL = ("--clip.num-frames", 2, "--clip.size", "[16, 24]")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return pack_numbered(tmp_path_factory.mktemp("numbered"), num_clips=4)


@pytest.fixture(scope="module")
def odd(tmp_path_factory):
    return pack_odd(tmp_path_factory.mktemp("odd"))


def fmrgb(*words):
    return main([str(word) for word in words])


def test_inspect_prints_tables(root, capsys):
    assert fmrgb("inspect", root) == 0
    out = capsys.readouterr().out
    for part in ("class-2", "96x64", "h264", "16000", "mel"):
        assert part in out


def test_inspect_prints_one_json_object(root, capsys):
    assert fmrgb("inspect", root, "--json") == 0
    card = json.loads(capsys.readouterr().out)
    assert card["num_samples"] == 4
    assert set(card["channel_stats"]) >= {"red", "flow", "mel"}


def test_inspect_of_a_key_prints_its_streams_and_place(root, capsys):
    assert fmrgb("inspect", root, "clip-001") == 0
    out = capsys.readouterr().out
    for part in ("class-1", "3 keyframes", "4 (0.40 s)", ".flac", "offset", "after the picture"):
        assert part in out


def test_inspect_says_what_a_sample_lacks(odd, capsys):
    assert fmrgb("inspect", odd, "heard") == 0
    assert "virtual timeline" in capsys.readouterr().out
    assert fmrgb("inspect", odd, "mute") == 0
    assert "none" in capsys.readouterr().out


def test_preview_writes_a_page_and_says_how_large(root, tmp_path, capsys):
    assert fmrgb("preview", root, "--out", tmp_path / "a" / "p.html", "-n", 3, *SMALL) == 0
    out = capsys.readouterr().out
    assert "3 of 4 samples" in out
    assert "MB" in out
    text = (tmp_path / "a" / "p.html").read_text(encoding="utf-8")
    assert len(page_data(text)["samples"]) == 3


def test_preview_takes_class_split_and_key(root, tmp_path, capsys):
    out = tmp_path / "p.html"
    assert fmrgb("preview", root, "--out", out, "--class", "class-0", "--split", "train",
                 "--key", "*3", "--json", *SMALL) == 0  # fmt: skip
    found = json.loads(capsys.readouterr().out)
    assert (found["num_shown"], found["num_bytes"]) == (1, out.stat().st_size)
    assert [one["key"] for one in page_data(out.read_text())["samples"]] == ["clip-003"]


def test_preview_gives_one_when_samples_had_to_be_left_out(root, tmp_path, capsys):
    words = ("preview", root, "--out", tmp_path / "p.html", "--max-mb", "0.01")
    assert fmrgb(*words) == 1
    assert "raise --max-mb" in capsys.readouterr().out


def test_preview_gives_one_and_names_the_sample_that_is_broken(root, tmp_path, capsys):
    broken = tmp_path / "dataset"
    shutil.copytree(root, broken)
    card = read_sample_card(broken, "clip-001")
    (member,) = [member for member in card.members if member.extension == "mp4"]
    with Path(card.shard).open("r+b") as shard:
        shard.seek(member.offset + member.size // 2)
        shard.write(b"\xff\x00\xff\x00")
    assert fmrgb("preview", broken, "--out", tmp_path / "p.html", *SMALL) == 1
    out = capsys.readouterr().out
    assert "3 of 4 samples" in out
    assert "could not be shown: clip-001: member clip-001.mp4" in out
    assert fmrgb("visualize", broken, "clip-001", "--out", tmp_path / "v") == 2


def test_visualize_writes_all_files_and_prints_the_times(root, tmp_path, capsys):
    assert fmrgb("visualize", root, "clip-002", "--out", tmp_path / "v") == 0
    out = capsys.readouterr().out
    assert "12 of 12 frames, 10 a second" in out
    assert "times, s: 0.000 0.100 0.200" in out
    assert {path.name for path in (tmp_path / "v").iterdir()} == {
        *("red.mkv", "green.mkv", "blue.mkv", "flow.mkv", "mel.mkv", "rgb.mkv"),
        *("sound.flac", "times.csv", "contact_sheet.png"),
    }


def test_visualize_says_what_is_missing(odd, tmp_path, capsys):
    assert fmrgb("visualize", odd, "heard", "--out", tmp_path, "--clip.num-frames", 4) == 0
    assert "has no picture" in capsys.readouterr().out
    assert fmrgb("visualize", odd, "mute", "--out", tmp_path) == 0
    assert "has no sound" in capsys.readouterr().out


def test_visualize_gives_times_as_json(root, tmp_path, capsys):
    words = ("visualize", root, "clip-000", "--out", tmp_path, "--json", "--clip.frame-stride", 4)
    assert fmrgb(*words, "--clip.channels", "gray3") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["times_seconds"] == pytest.approx([0.0, 0.4, 0.8])
    assert (found["fps"], found["channels"]) == (2.5, ["gray", "flow", "mel"])


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["inspect", "nowhere"], "no such folder"),
        (["inspect", "."], "manifest.json]: not a dataset; give the folder"),
        (["inspect", "ROOT", "clip_001"], "nearest: 'clip-001'"),
        (["preview", "nowhere"], "no such folder"),
        (["preview", "ROOT", "--class", "dog"], "is none of"),
        (["preview", "ROOT", "--key", "x*"], "no sample has key 'x*'"),
        (["preview", "ROOT", "-n", "0"], "must be at least 1"),
        (["preview", "ROOT", "--out", "."], "is a folder"),
        (["preview", "ROOT", "--max-mb", "0"], "must be above 0"),
        (["preview", "ROOT", "--clip.size", "[4, 4]"], "each in 8..2048"),
        (["preview", "ROOT", "--clip.flow.estimator", "nvof"], "does not run on the CPU pipeline"),
        (["visualize", "ROOT", "clip-1", "--out", "v"], "nearest: "),
        (["visualize", "ROOT", "clip-001"], "out"),
        (["visualize", "ROOT", "clip-001", "--out", "v", "--sheet-frames", "0"], "at least 1"),
    ],
)
def test_unusable_input_gives_two_and_one_clear_message(
    root, words, part, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    assert fmrgb(*(root if word == "ROOT" else word for word in words)) == 2
    error = capsys.readouterr().err
    assert part in error
    assert "Traceback" not in error


@pytest.mark.parametrize("command", ["inspect", "preview", "visualize"])
def test_help_loads_nothing_heavy(command):
    code = (
        f"import sys; from fmrgb_stream.cli.main import main; main(['{command}', '--help']);"
        "sys.exit(bool({'torch', 'av', 'cv2', 'matplotlib', 'PIL', 'pyarrow'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], stdout=subprocess.DEVNULL).returncode == 0


@pytest.mark.parametrize("launcher", ["inspect_shards", "preview_shards", "visualize"])
def test_launchers_are_the_commands(launcher):
    path = Path(__file__).resolve().parents[2] / "tools" / f"{launcher}.py"
    done = subprocess.run(
        [sys.executable, path, "--help"], capture_output=True, text=True, check=True
    )
    assert f"fmrgb {launcher.split('_')[0]}" in done.stdout
