"""What is found out before training, and what is never shown."""

import json
import re
import shutil
from dataclasses import replace
from importlib.util import find_spec

import pytest
import torch

from fmrgb_stream.config import TrainConfig
from fmrgb_stream.errors import ConfigError
from fmrgb_stream.shards import Manifest, ShardReader
from fmrgb_stream.storage import Store
from fmrgb_stream.training.acceleration import tracker_names
from fmrgb_stream.training.build import build_model, check_splits
from fmrgb_stream.training.evaluation import predict
from fmrgb_stream.training.experiment import tracker_settings, train_run
from fmrgb_stream.training.lr_search import search_learning_rate, summary_table
from fmrgb_stream.training.masking import masked
from fmrgb_stream.training.report_sections import rates_section
from fmrgb_stream.training.run_directory import RunDirectory
from fmrgb_stream.training.run_log import RunLog
from fmrgb_stream.training.shown import show
from tests.support.runs import SPLITS, pack_table, tiny_config
from tests.support.training import make_batch

SECRET = "https://bob:hunter2@host/ds"


def pack_one_class(tables, root):
    """The clips of a table of classes, all of one class."""
    text = re.sub(r"class-\d", "same", tables[0].read_text())
    table = tables[0].with_name("one-class.csv")
    table.write_text(text)
    return pack_table(table, root)


def test_a_password_in_a_url_is_never_shown(classes_root):
    config = tiny_config(SECRET, data={"val_split": "dev"})

    with pytest.raises(ConfigError) as raised:
        check_splits(config, Manifest.load(Store(classes_root)))

    assert "https://host/ds has no data.val_split" in str(raised.value)
    assert tracker_settings(config)["data.root"] == "https://host/ds"
    assert masked(config).data.root == "https://host/ds"


def test_one_class_is_refused_before_training(colour_tables, tmp_path):
    root = pack_one_class(colour_tables, tmp_path / "dataset")

    with pytest.raises(ConfigError, match="one only"):
        train_run(tiny_config(root), tmp_path / "run")

    assert not (tmp_path / "run").exists()


def test_a_test_split_without_labels_is_refused_before_training(
    classes_root, tmp_path, monkeypatch
):
    # The packer labels all or none; other writers need not.
    read_info, num_test = ShardReader.info, SPLITS["test"]

    def without_label(reader, sample_id):
        found = read_info(reader, sample_id)
        return replace(found, label=None) if reader.num_samples == num_test else found

    monkeypatch.setattr(ShardReader, "info", without_label)
    with pytest.raises(ConfigError, match=r"data\.test_split='test' has a label.*test-split null"):
        train_run(tiny_config(classes_root), tmp_path / "run")

    assert not (tmp_path / "run").exists()


def test_a_rate_that_diverges_is_a_row_of_the_search(targets_root, tmp_path):
    config = tiny_config(targets_root, epochs=1, loss="mse", clip_grad_norm=None, optimiser="adam")

    results = search_learning_rate(config, [1e30, 1e-3], tmp_path)

    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["best_lr"] == 1e-3
    assert "training loss" in summary["runs"][0]["diverged"]
    assert "diverged" in list(summary_table(results, config=config).columns[1].cells)
    assert "diverged" in rates_section(summary, run="lr-0.001")


@pytest.mark.parametrize("content", ['{"a": 1}', "[1]", "half", '{"best_lr": 1, "runs": [1]}'])
def test_a_summary_of_somebody_else_is_not_taken_for_a_search(tmp_path, content):
    (tmp_path / "summary.json").write_text(content)

    assert RunLog.read(RunDirectory(path=tmp_path / "run")).search is None


class Constant(torch.nn.Module):
    def forward(self, clip, _num_valid_frames):
        return torch.zeros(len(clip), 3)


def test_a_stand_in_is_not_scored_as_the_sample_that_it_stands_for():
    from fmrgb_stream.training.acceleration import make_accelerator

    batch = make_batch(labels=[0, 1, 2])
    batch = replace(batch, is_substitute=torch.tensor([False, True, False]))

    found = predict(
        Constant(), [batch], accelerator=make_accelerator(device="cpu"), config=TrainConfig()
    )

    assert found.keys == ("clip-0", "clip-2")


def test_a_frozen_backbone_without_weights_is_warned_of(classes_root, caplog):
    model = {"name": "frame_pool/test_resnet", "options": {"freeze_backbone": True}}

    build_model(tiny_config(classes_root, model=model), Manifest.load(Store(classes_root)))

    assert "the backbone stays random" in caplog.text


def test_a_run_of_half_precision_is_asked_in_full_precision_on_a_cpu(classes_root, caplog):
    config = tiny_config(classes_root, mixed_precision="fp16", data={"device": "cpu"})

    assert show(config).config.train.mixed_precision == "no"
    assert caplog.text.count("evaluated in float32") == 1


def test_a_tracker_that_is_not_installed_is_named():
    pytest.importorskip("tensorboard")
    missing = [name for name in ("wandb", "aim", "mlflow") if find_spec(name) is None]

    with pytest.raises(ConfigError, match=f"pip install {missing[0]}"):
        tracker_names(("tensorboard", missing[0]))

    assert tracker_names(("auto",)) == ("tensorboard",)


def test_a_run_that_goes_on_needs_no_weights_to_start_from(classes_root):
    model = {"name": "slowfast_r50", "pretrained": True, "checkpoint": "gone.safetensors",
             "options": {"published_weights": "gone.pyth"}}  # fmt: skip
    config = tiny_config(classes_root, model=model)

    assert build_model(config, Manifest.load(Store(classes_root)), with_weights=False)


def test_a_run_is_resumed_when_the_weights_it_began_with_are_gone(classes_root, tmp_path):
    config = tiny_config(classes_root, epochs=1)
    first = train_run(config, tmp_path / "first")
    start = tmp_path / "start.safetensors"
    shutil.copy(first.directory.weights_path, start)
    config = replace(config, model=replace(config.model, checkpoint=str(start)))
    train_run(config, tmp_path / "second")
    start.unlink()

    assert train_run(config, tmp_path / "second", resume=True).train.best_epoch == 0
