"""`fmrgb bench` on the demo dataset."""

import json
from pathlib import Path

import pytest

from fmrgb_stream.cli.main import main

DEMO = Path(__file__).parents[2] / "shards" / "demo"
SMALL = ["--batch-size", "4", "--clip.size", "[32,32]", "--clip.num-frames", "4"]


def test_the_profile_adds_up_and_names_a_limit(capsys):
    assert (
        main(["bench", str(DEMO), "--seconds", "0.5", "--num-workers", "1", *SMALL, "--json"]) == 0
    )
    found = json.loads(capsys.readouterr().out)
    assert found["clips_per_second"] == pytest.approx(found["num_clips"] / found["seconds"])
    assert found["seconds"] >= 0.5
    assert sum(found["stage_shares"].values()) + found["idle_share"] == pytest.approx(1, abs=0.02)
    assert found["reads"]["num_bytes"] > 0
    assert found["num_workers"] == 1
    assert found["limit"] in {*found["stage_shares"], "prefetch"}
    assert found["advice"]


def test_a_table_is_shown_to_people(capsys):
    assert main(["bench", str(DEMO), "--seconds", "0.2", "--worker-kind", "thread", *SMALL]) == 0
    shown = capsys.readouterr().out
    for word in ("clips/s", "decode", "idle", "limit:", "To change it:"):
        assert word in shown


def test_seconds_that_are_no_time_are_refused(capsys):
    assert main(["bench", str(DEMO), "--seconds", "0"]) == 2
    assert "--seconds" in capsys.readouterr().err
