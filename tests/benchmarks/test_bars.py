"""Limits are judged on the right side, and a missed one is seen from outside."""

import json

import pytest

from benchmarks.bars import Bar, Table, conclude


@pytest.mark.parametrize(
    ("value", "direction", "is_met"),
    [(1.9, "at most", True), (2.1, "at most", False), (2.0, "at most", True),
     (1.9, "at least", False), (2.1, "at least", True), (2.0, "at least", True)],
)  # fmt: skip
def test_a_figure_is_judged_by_its_direction(value, direction, is_met):
    assert Bar(name="x", value=value, limit=2.0, direction=direction).is_met == is_met


def test_a_figure_that_is_no_number_is_a_miss():
    assert not Bar(name="x", value=float("nan"), limit=2.0).is_met


@pytest.mark.parametrize(("value", "status"), [(1.0, 0), (3.0, 1)])
def test_the_exit_status_and_the_json_tell_of_a_miss(tmp_path, capsys, value, status):
    table = Table(title="figures", rows=[{"name": "a", "ms": 1.5}, {"name": "b", "ms": 2}])
    bars = [Bar(name="ok", value=0, limit=1), Bar(name="judged", value=value, limit=2, unit="s")]
    assert conclude("How fast?", [table], bars, tmp_path / "out.json") == status
    written = json.loads((tmp_path / "out.json").read_text())
    assert [bar["is_met"] for bar in written["bars"]] == [True, status == 0]
    assert written["tables"]["figures"] == [{"name": "a", "ms": 1.5}, {"name": "b", "ms": 2}]
    printed = capsys.readouterr().out
    assert ("MISS  judged: 3, wanted at most 2 s" in printed) == (status == 1)
