import json
import shutil
import stat
from dataclasses import replace

import pytest

from fmrgb_stream.errors import ConfigError
from fmrgb_stream.training import run as run_module
from fmrgb_stream.training.checkpoint import (
    Progress,
    Snapshot,
    best_weights_in,
    checkpoint_path,
    prune_checkpoints,
    read_progress,
    save_checkpoint,
)
from fmrgb_stream.training.experiment import train_run
from fmrgb_stream.training.run_directory import RunDirectory
from tests.support.runs import step_losses, tiny_config


def contents(folder):
    """Every file of a run but config.yaml, which a resume writes anew."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "config.yaml"
    }


def set_version(folder, version):
    for path in folder.glob("checkpoints/*/state.json"):
        path.write_text(json.dumps(json.loads(path.read_text()) | {"version": version}))


@pytest.fixture(scope="module")
def finished(classes_root, tmp_path_factory):
    """A run of two epochs."""
    folder = tmp_path_factory.mktemp("finished") / "run"
    config = tiny_config(classes_root)
    train_run(config, folder)
    return config, folder


@pytest.fixture
def run(finished, tmp_path):
    """A copy of it."""
    config, folder = finished
    return config, shutil.copytree(folder, tmp_path / "run")


def test_a_run_whose_checkpoints_are_of_another_version_is_left_as_it_is(run):
    config, folder = run
    set_version(folder, 2)
    before = contents(folder)

    with pytest.raises(ConfigError, match=r"has version 2.*--overwrite"):
        train_run(config, folder, resume=True)

    assert contents(folder) == before


@pytest.mark.parametrize("left", ["weights.safetensors", "metrics.jsonl"])
def test_a_run_without_checkpoints_but_with_results_is_left_as_it_is(run, left):
    config, folder = run
    shutil.rmtree(folder / "checkpoints")
    (folder / ({"weights.safetensors", "metrics.jsonl"} - {left}).pop()).unlink()
    before = contents(folder)

    with pytest.raises(ConfigError, match=left):
        train_run(config, folder, resume=True)

    assert contents(folder) == before


def test_a_run_that_was_killed_before_its_first_epoch_begins_anew(run):
    config, folder = run
    shutil.rmtree(folder / "checkpoints")
    (folder / "weights.safetensors").unlink()
    lines = (folder / "metrics.jsonl").read_text().splitlines(keepends=True)
    (folder / "metrics.jsonl").write_text("".join(lines[:3]))

    train_run(config, folder, resume=True)

    assert len(step_losses(folder)) == 12


def snapshot(step, best_step):
    return Snapshot(
        progress=Progress(
            step=step,
            epoch=step // 10,
            step_losses=(),
            loader=None,
            num_processes=1,
            num_averaged=0,
            best_epoch=best_step // 10 - 1,
            best_step=best_step,
        ),
        model={},
        ema=None,
        optimiser={},
        ranks=[{}],
    )


def test_the_best_checkpoint_of_every_kept_one_is_kept(tmp_path):
    for step, best_step in ((10, 10), (20, 10), (30, 10), (40, 40)):
        save_checkpoint(tmp_path, snapshot(step, best_step))
        prune_checkpoints(tmp_path, keep_last=2, best_step=best_step)

    assert read_progress(checkpoint_path(tmp_path, 30)).best_step == 10
    assert best_weights_in(checkpoint_path(tmp_path, 10)) == {}


def test_a_resume_that_lacks_the_best_checkpoint_removes_nothing(
    classes_root, tmp_path, monkeypatch
):
    # The first epoch is the best one, so the second one's checkpoint points to the first.
    monkeypatch.setattr(run_module, "badness", lambda evaluation, _config: -evaluation.loss)
    config = tiny_config(classes_root, epochs=3, lr=1e-2)
    result = train_run(config, tmp_path)
    assert result.train.best.step == 6
    shutil.rmtree(tmp_path / "checkpoints" / "step-00000006")
    before = contents(tmp_path)

    with pytest.raises(ConfigError, match="step-00000006"):
        train_run(
            config, tmp_path, resume=True, checkpoint=tmp_path / "checkpoints" / "step-00000012"
        )

    assert contents(tmp_path) == before


def test_a_resume_without_metrics_names_the_file_and_removes_nothing(run):
    config, folder = run
    (folder / "metrics.jsonl").unlink()
    before = contents(folder)

    with pytest.raises(ConfigError, match=r"metrics\.jsonl tells of 0 finished epochs"):
        train_run(config, folder, resume=True, checkpoint=folder / "checkpoints" / "step-00000006")

    assert contents(folder) == before


def test_the_settings_survive_a_resume_that_is_killed_while_it_writes_them(run, monkeypatch):
    config, folder = run
    directory = RunDirectory(path=folder)
    _, facts = directory.read()
    before = directory.config_path.read_bytes()

    def no_disk(_descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("fmrgb_stream.training.run_directory.os.fsync", no_disk)
    with pytest.raises(OSError, match="No space"):
        directory.write(replace(config, num_torch_threads=2), facts)

    assert (folder / "config.yaml").read_bytes() == before


def test_only_the_owner_reads_the_settings(run):
    _, folder = run

    assert stat.S_IMODE((folder / "config.yaml").stat().st_mode) == 0o600


def test_overwriting_leaves_nothing_that_a_report_or_a_tracker_wrote(run):
    config, folder = run
    (folder / "trackers").mkdir()
    for name in ("ablation.json", "predictions_by_group.csv", "predictions_by_key.parquet"):
        (folder / name).write_text("of the run before")

    train_run(config, folder, overwrite=True)

    names = {path.name for path in folder.iterdir()}
    assert names == {"config.yaml", "metrics.jsonl", "weights.safetensors", "checkpoints"}
