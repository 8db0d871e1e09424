"""evaluate, predict, features and report as a user calls them."""

import csv
import json

import pytest
import yaml

from fmrgb_stream.cli.main import main
from fmrgb_stream.config import plain_config
from tests.support.runs import pack_table, tiny_config, write_colours


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run directory that `fmrgb train` left."""
    folder = tmp_path_factory.mktemp("asked")
    classes, _ = write_colours(folder / "media", {"train": 8, "val": 4, "test": 4})
    config = tiny_config(pack_table(classes, folder / "dataset"), epochs=1)
    (folder / "tiny.yaml").write_text(yaml.safe_dump(plain_config(config)))
    words = ["train", "--config", folder / "tiny.yaml", "--out", folder / "run"]
    assert fmrgb(*words) == 0
    return folder / "run"


def fmrgb(*words):
    return main([str(word) for word in words])


def test_training_ends_with_a_page_and_its_pictures(run):
    names = {path.name for path in run.iterdir()}

    assert {"report.html", "curves.png", "confusion.png", "predictions.parquet"} <= names


def test_evaluate_prints_every_metric_and_class(run, capsys):
    code = fmrgb("evaluate", run)

    told = capsys.readouterr().out
    assert code == 0
    for word in ("accuracy", "balanced accuracy", "F1, macro", "cross_entropy", "class-2"):
        assert word in told


def test_evaluate_as_json_is_one_object_with_averages_of_windows(run, capsys):
    fmrgb("evaluate", run, "--split", "val", "--window", 0.6, "--hop", 0.2, "--json")

    told = json.loads(capsys.readouterr().out)
    assert told["clips"]["num_clips"] == 16
    assert told["samples"]["num_clips"] == 4
    assert told["groups"] is None
    assert told["unreadable"] == []


def test_evaluate_keeps_what_it_is_asked_to(run, tmp_path, capsys):
    fmrgb("evaluate", run, "--channels", "rgb,mel", "--out", tmp_path, "--json")

    assert json.loads((tmp_path / "scores.json").read_text()) == json.loads(capsys.readouterr().out)
    assert (tmp_path / "confusion.png").is_file()
    assert (tmp_path / "predictions.csv").is_file()


def test_predict_takes_all_splits_unless_told_one(run, tmp_path, capsys):
    assert fmrgb("predict", run, "--out", tmp_path / "all", "--json") == 0
    assert fmrgb("predict", run, "--split", "val", "--unlabelled", "--out", tmp_path / "val") == 0

    assert json.loads(capsys.readouterr().out.splitlines()[0])["clips"] == {
        "test": 4,
        "train": 8,
        "val": 4,
    }
    with (tmp_path / "val" / "predictions.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [row["label"] for row in rows] == [""] * 4


def test_features_tell_what_was_there_already(run, tmp_path, capsys):
    words = ["features", run, "--split", "val", "--num-frames", 4, "--hop", 0.5, "--out", tmp_path]
    fmrgb(*words)
    assert fmrgb(*words, "--json") == 0

    (told,) = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (told["num_samples"], told["num_kept"], told["num_windows"]) == (4, 4, 12)


def test_report_tells_where_the_page_is(run, capsys):
    assert fmrgb("report", run, "--split", "val", "--clips", 1) == 0

    assert capsys.readouterr().out.strip() == str(run / "report.html")
    assert "Scores on val" in (run / "report.html").read_text()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["evaluate", "no/run"], "fmrgb train --out"),
        (["predict", "RUN", "--split", "exam", "--out", "OUT"], "no split 'exam'"),
        (["evaluate", "RUN", "--hop", "1"], "window="),
        (["evaluate", "RUN", "--device", "gpu"], "cpu, or auto"),
        (["features", "no_such_model", "--root", "x", "--pretrained", "--out", "OUT"], "x"),
        (["features", "slowfast_r50", "--root", "x", "--out", "OUT"], "--pretrained"),
    ],
)
def test_what_cannot_work_is_one_line_and_ends_with_two(run, tmp_path, capsys, words, told):
    names = {"RUN": str(run), "OUT": str(tmp_path)}

    code = fmrgb(*(names.get(word, word) for word in words))

    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert code == 2
    assert error.startswith(f"fmrgb {words[0]}: error:")
    assert told in error
