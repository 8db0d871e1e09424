import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from matplotlib.image import imread

from fmrgb_stream.training.charts import curves_svg, save_curves, scatter_svg
from fmrgb_stream.training.experiment import train_run
from fmrgb_stream.training.html import element, folded, page, section, table
from fmrgb_stream.training.records import EpochRecord, Evaluation, StepProfile, StepRecord
from fmrgb_stream.training.report_sections import profile_section, rates_section
from fmrgb_stream.training.run_report import write_report
from fmrgb_stream.training.trained import Asked, open_trained
from tests.support.runs import tiny_config
from tests.support.training import make_outcomes

VOID = {"meta", "img"}


class Page(HTMLParser):
    """Headings and what is loaded from elsewhere; complains about tags that do not close."""

    def __init__(self, text):
        super().__init__()
        self.open, self.headings, self.loaded, self.images = [], [], [], 0
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        if tag not in VOID:
            self.open.append(tag)
        self.images += tag == "img"
        for name, value in attributes:
            if name in ("src", "href", "xlink:href") and not value.startswith(("data:", "#")):
                self.loaded.append(value)

    def handle_startendtag(self, tag, attributes):
        pass

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] == "h2":
            self.headings.append(data)


@pytest.fixture(scope="module")
def classes_page(classes_root, tmp_path_factory):
    path = tmp_path_factory.mktemp("reported") / "lr-0.005"
    train_run(tiny_config(classes_root), path)
    evaluation = {"score_name": "accuracy", "score": 0.5, "loss": 1.0}
    found = [
        {"lr": lr, "run": f"lr-{lr:g}", "best_epoch": 1, "val": evaluation, "test": None}
        for lr in (0.005, 0.05)
    ]
    (path.parent / "summary.json").write_text(json.dumps({"best_lr": 0.05, "runs": found}))
    write_report(open_trained(path), num_clips=2, with_ablation=True)
    return path


def test_the_page_has_a_section_for_all_that_was_measured(classes_page):
    read = Page((classes_page / "report.html").read_text())

    assert read.headings == [
        "Training",
        "Scores on test",
        "Classes",
        "Ablation",
        "Learning-rate search",
        "Clips of test",
        "Step profile",
        "Settings",
    ]
    assert read.images == 4


def test_the_page_needs_nothing_from_elsewhere(classes_page):
    text = (classes_page / "report.html").read_text()

    assert Page(text).loaded == []
    assert "<script" not in text
    assert "@import" not in text
    assert re.findall(r"url\((?!#)", text) == []


def test_the_page_is_made_for_light_and_dark(classes_page):
    text = (classes_page / "report.html").read_text()

    assert "prefers-color-scheme: dark" in text
    curves = text[text.index("<svg") : text.rindex("</svg>")]
    assert "currentColor" in curves
    # No background of its own, and no ink that only one of both can show.
    assert not re.search(r"fill: ?#(fff|ffffff|000|000000)\b", curves)


def test_pictures_and_predictions_lie_beside_the_page(classes_page):
    names = {path.name for path in classes_page.iterdir()}

    assert {"curves.png", "confusion.png", "predictions.parquet", "predictions.csv"} <= names
    for name in ("curves.png", "confusion.png"):
        assert imread(classes_page / name).std() > 0.01


def test_the_ablation_has_a_row_without_each_kind_of_plane(classes_page):
    rows = json.loads((classes_page / "ablation.json").read_text())

    assert [(row["name"], len(row["channels"])) for row in rows] == [
        ("all", 5),
        ("without the picture", 2),
        ("without flow", 4),
        ("without mel", 4),
    ]


def test_a_page_about_targets_shows_them_and_no_classes(targets_root, tmp_path):
    train_run(tiny_config(targets_root, loss="mse", epochs=1), tmp_path / "run")
    trained = open_trained(tmp_path / "run", Asked(device="cpu"))

    write_report(trained, split="val", num_clips=1)

    text = (tmp_path / "run" / "report.html").read_text()
    read = Page(text)
    assert "Targets" in read.headings
    assert "Classes" not in read.headings
    assert "spearman, warm" in text
    assert not (tmp_path / "run" / "confusion.png").exists()


def test_text_is_escaped_and_parts_are_not_escaped_twice():
    part = element("b", "<a> & 'b'", title='"x"')

    assert part == '<b title="&quot;x&quot;">&lt;a&gt; &amp; &#x27;b&#x27;</b>'
    assert element("p", part) == f"<p>{part}</p>"


def test_a_section_or_table_without_content_is_not_there():
    assert section("Nothing", table(["a"], []), "") == ""


def test_pages_of_all_parts_close_their_tags():
    text = page("t", section("s", folded("more", table(["a", "b"], [("x", 1)]))))

    assert Page(text).headings == ["s"]


def history(num_epochs=3, *, score=0.5, num_ranks=2):
    profiles = tuple(
        StepProfile(
            rank=rank,
            num_clips=10,
            seconds=2.0,
            wait_seconds=1.0,
            to_device_seconds=0.1,
            forward_seconds=0.3,
            backward_seconds=0.3,
            optimiser_seconds=0.1,
        )
        for rank in range(num_ranks)
    )
    return [
        EpochRecord(
            epoch=epoch,
            train_loss=1.0 / (epoch + 1),
            learning_rate=0.1,
            clips_per_second=5.0,
            wait_share=0.5,
            seconds=2.0,
            val=Evaluation(loss=1.0, score=score, score_name="spearman", num_clips=4),
            step=4 * (epoch + 1),
            profiles=profiles,
        )
        for epoch in range(num_epochs)
    ]


def test_the_profile_has_a_row_an_epoch_and_process():
    text = profile_section(history(3))

    rows = re.findall(r"<tr>.*?</tr>", text)[1:]
    assert len(rows) == 6
    assert all("50.0%" in row and "10.0%" in row for row in rows)


def test_a_long_profile_is_folded_behind_the_last_epoch():
    text = profile_section(history(40))

    opened, folded_away = text.split("<details>")
    assert opened.count("<tr>") == 1 + 2
    assert folded_away.count("<tr>") == 1 + 80


def test_without_a_search_there_is_no_section_about_it():
    assert rates_section(None, run="x") == ""


def test_a_score_that_is_never_a_number_has_no_plot():
    assert len(curves_svg(history(score=float("nan")))) == 2
    assert len(curves_svg(history(score=0.1))) == 3


def test_curves_are_the_same_each_time_and_many_steps_do_not_swell_them(tmp_path):
    steps = [StepRecord(step=i, epoch=0, loss=1.0 / i, learning_rate=0.1) for i in range(1, 20_000)]

    first, second = curves_svg(history(), steps), curves_svg(history(), steps)

    assert first == second
    assert sum(map(len, first)) < 400_000
    save_curves(tmp_path / "curves.png", history(1), steps[:4])
    assert imread(tmp_path / "curves.png").std() > 0.01


def test_scatter_plots_are_for_known_targets_only():
    values = np.array([[0.0, 1.0], [1.0, 0.5]])

    assert len(scatter_svg(make_outcomes(outputs=values, targets=values, kind="targets"))) == 2
    assert scatter_svg(make_outcomes(outputs=values, kind="targets")) == []
    assert scatter_svg(make_outcomes(outputs=values, labels=[0, 1])) == []
