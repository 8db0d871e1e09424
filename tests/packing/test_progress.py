"""What a resume merely kept is no speed."""

import re

import pytest

from fmrgb_stream.packing import progress
from fmrgb_stream.packing.progress import LineProgress, make_progress


@pytest.fixture
def clock(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_rate_and_rest_count_fresh_samples_alone(clock, capsys):
    lines = LineProgress()
    lines.start("pack", total=1000, kept=900)
    clock[0] += 20
    lines.advance("pack", 40)
    assert capsys.readouterr().err.splitlines() == [
        "pack: 900/1000 kept from an earlier run",
        "pack: 940/1000, 2.0 clips/s, 30 s to go",
    ]


def test_bar_counts_fresh_samples_alone(clock, monkeypatch, capsys):
    monkeypatch.setattr(progress.sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("TERM", "xterm")
    bars = make_progress()
    bars.start("pack", total=1000, kept=900)
    clock[0] += 20
    bars.advance("pack", 40)
    bars.close()
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", capsys.readouterr().err)
    assert "940/1000" in shown
    assert "2.0 clips/s" in shown
