import json
import math
import shutil
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from fmrgb_stream.channels import CHANNELS, FLOW_ZERO_UV
from fmrgb_stream.errors import ConfigError, ManifestError
from fmrgb_stream.models import create_model
from fmrgb_stream.training.experiment import train_run
from fmrgb_stream.training.metrics import score_classes
from fmrgb_stream.training.other_input import choose_modality, cross_clip, switch_off
from fmrgb_stream.training.prediction_table import write_outcomes
from fmrgb_stream.training.run_directory import RunDirectory
from fmrgb_stream.training.split_report import report_split
from fmrgb_stream.training.trained import Asked, open_trained
from tests.support.runs import finished, launch, tiny_config
from tests.support.training import make_batch


@pytest.fixture(scope="module")
def run(classes_root, tmp_path_factory):
    """A run directory and what its training returned."""
    out = tmp_path_factory.mktemp("trained") / "run"
    return out, train_run(tiny_config(classes_root), out)


@pytest.fixture(scope="module")
def targets_run(targets_root, tmp_path_factory):
    out = tmp_path_factory.mktemp("trained") / "run"
    return out, train_run(tiny_config(targets_root, loss="mse"), out)


def test_a_run_that_is_evaluated_again_scores_as_in_its_own_test(run):
    path, trained = run

    report = report_split(open_trained(path).outcomes("test"), config=tiny_config(path).train)

    assert report.clips == trained.train.test.scores
    assert report.loss == pytest.approx(trained.train.test.loss, rel=1e-5)


def test_targets_are_scored_as_in_the_runs_own_test(targets_run):
    path, trained = targets_run
    config = tiny_config(path, loss="mse").train

    report = report_split(open_trained(path).outcomes("test"), config=config)

    assert report.names == ("red", "green", "blue", "loud", "warm")
    assert report.clips.mse == pytest.approx(trained.train.test.scores.mse, rel=1e-5)


def test_checkpoints_and_weights_files_of_a_run_can_be_asked_too(run):
    path, _ = run
    checkpoint = sorted((path / "checkpoints").iterdir())[0]

    models = [open_trained(p).model for p in (checkpoint, checkpoint / "model.safetensors")]

    states = [model.state_dict() for model in models]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_window_averages_in_the_files_are_numpys_means(run, tmp_path):
    trained = open_trained(run[0], Asked(window_seconds=0.6, hop_seconds=0.2, batch_size=7))

    write_outcomes(tmp_path, [trained.outcomes("test")])

    rows = pq.read_table(tmp_path / "predictions.parquet").to_pylist()
    averages = pq.read_table(tmp_path / "predictions_by_key.parquet").to_pylist()
    # 1.2 s hold windows from 0, 0.2, 0.4 and 0.6 s.
    assert [row["window"] for row in rows] == [0, 1, 2, 3] * 8
    assert [row["num_windows"] for row in averages] == [4] * 8
    for average in averages:
        windows = [row for row in rows if row["key"] == average["key"]]
        for name in ("probability_class-0", "probability_class-1", "probability_class-2"):
            mean = np.mean([row[name] for row in windows])
            assert average[name] == pytest.approx(mean, abs=1e-6)
        assert average["label"] == windows[0]["label"]


@pytest.mark.slow
def test_every_clip_is_predicted_once_by_two_processes_with_padding(run, tmp_path):
    path, _ = run
    # Two batches of 2 x 3 places for 8 clips.
    words = ["predict", path, "--split", "test", "--batch-size", 6, "--device", "cpu"]
    out = finished(launch([*words, "--out", tmp_path, "--json"], num_processes=2))

    rows = pq.read_table(tmp_path / "predictions.parquet").to_pylist()
    alone = open_trained(path).outcomes("test")
    assert json.loads(out.splitlines()[-1])["clips"] == {"test": 8}
    assert [row["key"] for row in rows] == list(alone.keys)
    found = [[row[f"probability_{name}"] for name in alone.names] for row in rows]
    np.testing.assert_allclose(found, alone.values, atol=1e-5)


def test_several_splits_stand_in_one_table(run, tmp_path):
    trained = open_trained(run[0])

    write_outcomes(tmp_path, [trained.outcomes(s) for s in trained.shown.filled_splits])

    rows = pq.read_table(tmp_path / "predictions.parquet").to_pylist()
    counts = {s: sum(row["split"] == s for row in rows) for s in ("train", "val", "test")}
    assert counts == {"train": 24, "val": 6, "test": 8}
    assert len({row["key"] for row in rows}) == 38


@pytest.fixture
def changed_manifest(classes_root, tmp_path):
    """A copy of the dataset whose manifest a function has changed."""

    def change(edit):
        root = tmp_path / "changed"
        shutil.copytree(classes_root, root)
        manifest = json.loads((root / "manifest.json").read_text())
        edit(manifest)
        (root / "manifest.json").write_text(json.dumps(manifest))
        return str(root)

    return change


def test_unlabelled_data_are_predicted_and_cannot_be_scored(run, changed_manifest, tmp_path):
    root = changed_manifest(lambda manifest: manifest.update(classes=[]))
    outcomes = open_trained(run[0], Asked(root=root)).outcomes("test")

    write_outcomes(tmp_path, [outcomes])

    rows = pq.read_table(tmp_path / "predictions.parquet").to_pylist()
    assert {row["label"] for row in rows} == {None}
    assert {row["prediction"] for row in rows} <= {"class-0", "class-1", "class-2"}
    with pytest.raises(ConfigError, match="fmrgb predict"):
        report_split(outcomes, config=tiny_config(tmp_path).train)


def test_classes_in_another_order_are_matched_by_name(run, changed_manifest):
    root = changed_manifest(lambda m: m.update(classes=["class-2", "class-0", "class-1"]))

    labels = open_trained(run[0], Asked(root=root)).outcomes("test").labels

    # The samples' own numbers are 2, 0, 1, ... from clip 30 on.
    own = open_trained(run[0]).outcomes("test").labels
    assert labels.tolist() == [{0: 2, 1: 0, 2: 1}[label] for label in own.tolist()]


def test_other_classes_are_refused_but_can_be_left_out_of_sight(run, changed_manifest):
    root = changed_manifest(lambda m: m.update(classes=["class-0", "class-1", "bird"]))
    trained = open_trained(run[0], Asked(root=root))

    with pytest.raises(ConfigError, match=r"\['bird'\].*--unlabelled"):
        trained.outcomes("test")
    assert len(trained.outcomes("test", with_truth=False)) == 8


def test_other_targets_are_refused(targets_run, classes_root):
    trained = open_trained(targets_run[0], Asked(root=str(classes_root)))

    with pytest.raises(ConfigError, match=r"'warm'.*class-0.*--unlabelled"):
        trained.outcomes("test")


def test_an_empty_split_names_those_with_samples(run, changed_manifest):
    empty = {"shards": [], "duration_seconds": 0.0, "num_groups": 0}
    root = changed_manifest(lambda m: m["splits"].update(later=empty))

    with pytest.raises(ConfigError, match=r"'later'.*is empty.*'test'.*have samples"):
        open_trained(run[0], Asked(root=root)).outcomes("later")


def test_a_split_that_is_not_there_names_those_that_are(run):
    with pytest.raises(ManifestError, match=r"no split 'exam'.*'test', 'train', 'val'"):
        open_trained(run[0]).outcomes("exam")


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"channels": "gray"}, r"without \['gray'\]; it has \['red'"),
        ({"cross_channels": ("mel",)}, "1 planes, the model reads 5"),
        ({"modality": "sound"}, "fusion/shared"),
        ({"root": "no/such/folder"}, "no/such/folder"),
    ],
)
def test_what_cannot_be_asked_says_why(run, asked, told):
    with pytest.raises(Exception, match=told):
        open_trained(run[0], Asked(**asked))


def test_a_hop_needs_a_window():
    with pytest.raises(ConfigError, match="window="):
        Asked(hop_seconds=0.5)


def test_a_missing_run_names_the_cure(tmp_path):
    with pytest.raises(ConfigError, match="fmrgb train --out"):
        open_trained(tmp_path / "none")
    with pytest.raises(ConfigError, match="fmrgb train --out"):
        open_trained(tmp_path)


def test_a_folder_of_a_run_without_weights_is_refused(run, tmp_path):
    directory = RunDirectory(path=tmp_path)
    directory.write(*RunDirectory(path=run[0]).read())
    (tmp_path / "checkpoints").mkdir()

    with pytest.raises(ConfigError, match=r"no \.safetensors file"):
        open_trained(tmp_path / "checkpoints")


def test_without_the_picture_the_classes_that_it_tells_are_lost(run):
    """Red tells the class: with flow and mel alone nothing differs between the classes' pictures."""
    outcomes = open_trained(run[0], Asked(channels=("flow", "mel"))).outcomes("test")
    silent = open_trained(run[0], Asked(channels=("flow",))).outcomes("test")

    assert np.ptp(outcomes.values, axis=0).max() > 0  # mel still differs
    np.testing.assert_allclose(silent.values, silent.values[:1].repeat(8, axis=0), atol=1e-6)


def test_planes_that_are_switched_off_hold_nothing_and_the_batch_stays_as_it_was():
    channels = ("gray", "flow_u", "mel")
    batch = make_batch(labels=[1, 2], channels=channels)
    batch = replace(batch, waveform=torch.ones(2, 5))
    before = batch.clip.clone()

    off = switch_off(batch, ("flow_u", "mel"))

    assert torch.equal(off.clip[:, 0], before[:, 0])
    assert off.clip[:, 1].unique().tolist() == [FLOW_ZERO_UV]
    assert off.clip[:, 2].unique().tolist() == [0]
    assert not off.waveform.any()
    assert torch.equal(batch.clip, before)


def test_crossed_planes_bring_their_own_statistics():
    model = create_model("smallcnn", num_classes=2, channels="gray")
    clip = replace(tiny_config("x").clip, channels="gray")
    stats = {"mel": replace_stats(0.25, 0.125)}

    crossed = cross_clip(model, clip, "mel", stats=stats)

    (stem,) = [module for name, module in model.named_modules() if name.endswith("stem")]
    assert crossed.planes == ("mel",)
    assert (float(stem.mean[0]), float(stem.inverse_std[0])) == (0.25, 8.0)


def replace_stats(mean, std):
    from fmrgb_stream.models.stem import Plane

    return Plane(name="mel", mean=mean, std=std)


def test_a_shared_encoder_reads_what_it_is_told_to():
    model = create_model("fusion/shared/smallcnn", num_classes=2, channels="gray")

    choose_modality(model, "sound")

    assert model.modality == "sound"
    with pytest.raises(ConfigError, match="picture, sound or both"):
        choose_modality(model, "smell")


def test_scores_of_a_constant_model_are_no_half(run):
    trained = open_trained(run[0], Asked(channels=("flow",)))
    outcomes = trained.outcomes("test")

    scores = score_classes(torch.from_numpy(outcomes.outputs), torch.from_numpy(outcomes.labels))

    assert scores.balanced_accuracy == pytest.approx(1 / 3)


def test_a_constant_predictor_of_targets_ranks_nothing(targets_run):
    path, _ = targets_run
    trained = open_trained(path, Asked(channels=("flow",)))

    report = report_split(trained.outcomes("test"), config=trained.shown.config.train)

    assert math.isnan(report.clips.spearman_of_sum)
    assert report.as_json()["clips"]["spearman_of_sum"] is None


def test_all_channels_kept_is_the_same_as_none_switched_off(run):
    all_of_them = open_trained(run[0], Asked(channels=CHANNELS)).outcomes("val")

    np.testing.assert_array_equal(all_of_them.outputs, open_trained(run[0]).outcomes("val").outputs)
