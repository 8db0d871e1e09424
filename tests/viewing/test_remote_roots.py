"""Datasets behind a server are looked at like those in a folder, and the page says where they are."""

import json

import pytest

from fmrgb_stream.cli.main import main
from tests.support.origin import Origin
from tests.support.packed import all_bytes
from tests.support.viewed import page_data


@pytest.fixture(scope="module")
def origin(numbered):
    with Origin(all_bytes(numbered)) as running:
        yield running


def test_they_are_counted_without_reading_a_shard(origin, capsys):
    assert main(["inspect", origin.url(), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["num_samples"] == 8
    assert not [seen for seen in origin.gets() if seen.key.endswith(".tar")]


def test_samples_of_them_are_shown(origin, tmp_path, capsys):
    words = ["--clip.num-frames", "2", "--clip.size", "[16, 24]", "-n", "2"]
    assert main(["preview", origin.url(), "--out", str(tmp_path / "p.html"), *words]) == 0
    text = (tmp_path / "p.html").read_text(encoding="utf-8")
    assert len(page_data(text)["samples"]) == 2
    assert "<h1>Preview of bucket</h1>" in text
    assert main(["inspect", origin.url(), "clip-002"]) == 0
    assert "class-2" in capsys.readouterr().out


def test_a_key_that_is_not_there_is_refused(origin, capsys):
    assert main(["inspect", origin.url(), "clip-2"]) == 2
    assert "nearest: 'clip-002'" in capsys.readouterr().err
