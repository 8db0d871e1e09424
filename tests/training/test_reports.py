import json

import numpy as np
import pytest
from matplotlib.image import imread

from fmrgb_stream.errors import ConfigError
from fmrgb_stream.training.ablation import AblationRow, Variant
from fmrgb_stream.training.demo import check_bars
from fmrgb_stream.training.figures import draw_contact_sheet, draw_curves
from fmrgb_stream.training.records import EpochRecord, Evaluation, TrainResult
from fmrgb_stream.training.report import markdown_table, write_results
from tests.support.training import make_batch


def make_row(name, test_accuracy, *, num_epochs=3):
    def evaluation(score):
        return Evaluation(loss=1 - score, score=score, score_name="accuracy", num_clips=64)

    history = tuple(
        EpochRecord(
            epoch=epoch,
            train_loss=2.0 / (epoch + 1),
            learning_rate=1e-3,
            clips_per_second=100.0,
            wait_share=0.25,
            seconds=1.0,
            val=evaluation(0.3 + 0.2 * epoch),
        )
        for epoch in range(num_epochs)
    )
    return AblationRow(
        variant=Variant(name=name, channels=("flow", "mel")),
        result=TrainResult(
            history=history,
            best_epoch=num_epochs - 1,
            test=evaluation(test_accuracy),
            seconds=12.0,
            num_parameters=1000,
        ),
    )


def test_the_markdown_table_has_a_line_for_each_variant():
    lines = markdown_table([make_row("all channels", 0.98), make_row("without mel", 0.5)])

    header, rule, first, second = lines.splitlines()
    assert header.startswith("| channels | test |")
    assert set(rule) <= set("|-: ")
    assert first.startswith("| all channels | 0.980 | 0.700 | 3 of 3 | 100 | 25% | 12 s |")
    assert second.startswith("| without mel | 0.500 |")


def test_results_hold_every_number_of_every_variant(tmp_path):
    write_results(tmp_path / "results.json", [make_row("x", 0.5)], classes=("a", "b"))

    content = json.loads((tmp_path / "results.json").read_text())
    assert content["classes"] == ["a", "b"]
    assert content["variants"][0]["test"]["score"] == 0.5
    assert len(content["variants"][0]["history"]) == 3


@pytest.mark.parametrize(
    ("full", "ablated", "met"),
    [
        (0.95, 0.60, [True, True]),
        (0.94, 0.60, [False, True]),
        (0.95, 0.61, [True, False]),
    ],
)
def test_the_demo_bars_are_where_they_are_documented(full, ablated, met):
    bars = check_bars([make_row("all channels", full), make_row("without mel", ablated)])

    assert [bar.is_met for bar in bars] == met


def test_curves_are_a_picture(tmp_path):
    draw_curves(tmp_path / "new" / "curves.png", [make_row("a", 0.9), make_row("b", 0.5)])

    assert imread(tmp_path / "new" / "curves.png").std() > 0.01


def coloured_batch():
    """One clip: red 200, green 100, blue 50, flow 0 and mel 255 everywhere."""
    clip = make_batch(labels=[1], num_frames=4, size=24).clip
    for plane, value in enumerate((200, 100, 50, 0, 255)):
        clip[:, plane] = value
    return make_batch(clip=clip, labels=[1], num_valid_frames=[3])


def has_colour(picture, rgb):
    return bool((np.abs(picture[..., :3] * 255 - rgb).max(axis=-1) < 2).any())


@pytest.mark.parametrize(
    ("shown", "rgb"),
    [
        ("the colour picture", (200, 100, 50)),
        ("the red plane", (200, 200, 200)),
        ("flow of zero, the dark end of viridis", (68, 1, 84)),
        ("mel at full scale, the light end of magma", (252, 253, 191)),
    ],
)
def test_the_contact_sheet_shows_every_channel(tmp_path, shown, rgb):
    draw_contact_sheet(tmp_path / "sheet.png", coloured_batch(), classes=("a", "b"))

    assert has_colour(imread(tmp_path / "sheet.png"), rgb), shown


def test_the_contact_sheet_grows_with_the_clips_shown(tmp_path):
    batch = make_batch(labels=[0, 1, 2])
    heights = []
    for clips in ((0,), (0, 2)):
        draw_contact_sheet(tmp_path / "sheet.png", batch, clips=clips)
        heights.append(imread(tmp_path / "sheet.png").shape[0])

    assert heights[1] == pytest.approx(2 * heights[0], abs=2)


def test_a_contact_sheet_of_float_clips_is_refused(tmp_path):
    batch = make_batch(clip=coloured_batch().clip.float(), labels=[1])

    with pytest.raises(ConfigError, match="uint8"):
        draw_contact_sheet(tmp_path / "sheet.png", batch)
