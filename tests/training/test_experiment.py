import json
from dataclasses import replace

import pytest
import torch

from fmrgb_stream.config import ClipConfig, FlowConfig
from fmrgb_stream.errors import ConfigError
from fmrgb_stream.training import load_run
from fmrgb_stream.training.build import data_warnings, read_manifest
from fmrgb_stream.training.checkpoint import newest_checkpoint, read_progress
from fmrgb_stream.training.experiment import train_run
from fmrgb_stream.training.lr_search import best_rate, search_learning_rate
from fmrgb_stream.training.metrics_file import read_metrics
from fmrgb_stream.training.run import Run
from fmrgb_stream.training.run_directory import RunDirectory
from tests.support.runs import step_losses, tiny_config


class Killed(BaseException):
    """Stands for a kill: nothing of ours catches it."""


def kill_after(monkeypatch, step):
    """Let training end without a word after an optimiser step."""
    finish = Run._finish_step

    def finish_or_die(run):
        if run.step == step:
            raise Killed
        finish(run)

    monkeypatch.setattr(Run, "_finish_step", finish_or_die)


def test_a_run_leaves_config_metrics_weights_and_checkpoints(classes_root, tmp_path):
    result = train_run(tiny_config(classes_root), tmp_path / "run")

    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert names == {"config.yaml", "metrics.jsonl", "weights.safetensors", "checkpoints"}
    assert result.train.test.num_clips == 8
    assert result.bad_samples == ()


def test_packed_flow_that_is_not_used_is_told(classes_root):
    manifest = read_manifest(tiny_config(classes_root))
    packed = replace(manifest, pack_config={**manifest.pack_config, "flow_video": "flow"})
    clip = ClipConfig(channels=("red", "flow"))
    config = replace(tiny_config(classes_root), clip=clip)
    assert "--clip.flow.estimator member" in data_warnings(config, packed)[0]
    assert data_warnings(config, manifest) == ()
    member = replace(clip, flow=FlowConfig(estimator="member"))
    assert data_warnings(replace(config, clip=member), packed) == ()


def test_the_loaded_run_holds_the_best_weights(classes_root, tmp_path):
    result = train_run(tiny_config(classes_root, epochs=3), tmp_path)

    loaded = load_run(tmp_path)

    best = tmp_path / "checkpoints" / f"step-{result.train.best.step:08d}"
    state = torch.load(best / "optimiser.pt", weights_only=True)
    assert set(state) == {"optimiser", "schedule", "scaler"}
    other = load_run(tmp_path, weights=best / "model.safetensors")
    for name, value in loaded.model.state_dict().items():
        assert torch.equal(value, other.model.state_dict()[name])
    assert loaded.facts.classes == ("class-0", "class-1", "class-2")


@pytest.mark.parametrize(
    ("killed_after", "train"),
    [(1, {}), (6, {"ema_decay": 0.9, "accumulation": 2}), (8, {"ema_decay": 0.9})],
)
def test_a_killed_run_goes_on_bit_for_bit(classes_root, tmp_path, monkeypatch, killed_after, train):
    # Six steps an epoch and a checkpoint every four: within the first epoch and at its end.
    config = tiny_config(classes_root, record={"checkpoint_every_steps": 4}, **train)
    whole = train_run(config, tmp_path / "whole")
    with monkeypatch.context() as patch:
        kill_after(patch, killed_after)
        with pytest.raises(Killed):
            train_run(config, tmp_path / "run")

    resumed = train_run(config, tmp_path / "run", resume=True)

    assert step_losses(tmp_path / "run") == step_losses(tmp_path / "whole")
    assert resumed.train.test == whole.train.test
    assert [record.val for record in resumed.train.history] == [
        record.val for record in whole.train.history
    ]


def test_a_finished_run_that_goes_on_trains_no_further(classes_root, tmp_path):
    config = tiny_config(classes_root)
    first = train_run(config, tmp_path)

    again = train_run(config, tmp_path, resume=True)

    assert again.train.history == first.train.history
    assert len(step_losses(tmp_path)) == 12


def test_a_half_written_checkpoint_is_never_taken(classes_root, tmp_path):
    config = tiny_config(classes_root)
    train_run(config, tmp_path)
    folder = tmp_path / "checkpoints"
    newest = newest_checkpoint(folder)
    (newest / "model.safetensors").write_bytes(b"half")
    (folder / "step-00000099").mkdir()

    assert read_progress(newest_checkpoint(folder)).step == 6


def test_only_the_last_checkpoints_and_the_best_one_stay(classes_root, tmp_path):
    config = tiny_config(classes_root, epochs=4, record={"keep_last": 1})

    result = train_run(config, tmp_path)

    steps = {int(path.name[5:]) for path in (tmp_path / "checkpoints").iterdir()}
    assert steps == {24, result.train.best.step}


def test_other_settings_are_refused_by_name_when_a_run_goes_on(classes_root, tmp_path):
    config = tiny_config(classes_root, epochs=1)
    train_run(config, tmp_path)

    with pytest.raises(ConfigError, match=r"train\.lr=0\.5 \(the run has 0\.005\)"):
        train_run(replace(config, train=replace(config.train, lr=0.5)), tmp_path, resume=True)


def test_settings_that_decide_nothing_may_change_when_a_run_goes_on(classes_root, tmp_path):
    config = tiny_config(classes_root, epochs=1)
    train_run(config, tmp_path)
    changed = replace(config, data=replace(config.data, num_workers=2))

    assert len(train_run(changed, tmp_path, resume=True).train.history) == 1


def test_a_run_is_not_overwritten_by_accident(classes_root, tmp_path):
    config = tiny_config(classes_root, epochs=1)
    train_run(config, tmp_path)

    with pytest.raises(ConfigError, match="--overwrite"):
        train_run(config, tmp_path)


def test_overwriting_leaves_nothing_of_the_run_before(classes_root, tmp_path):
    train_run(tiny_config(classes_root, epochs=3), tmp_path)

    train_run(tiny_config(classes_root, epochs=1), tmp_path, overwrite=True)

    assert len(step_losses(tmp_path)) == 6
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-00000006"]


def test_micro_batches_change_neither_losses_nor_weights(classes_root, tmp_path):
    # No batch norm, whose statistics are those of each micro-batch.
    model = {"name": "frame_pool/test_vit", "options": {}}
    for parts in (1, 4):
        config = tiny_config(classes_root, model=model, accumulation=parts, epochs=1)
        train_run(config, tmp_path / str(parts))

    torch.testing.assert_close(
        step_losses(tmp_path / "4"), step_losses(tmp_path / "1"), rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("test_modality", ["picture", "both"])
def test_cross_tests_the_shared_encoder_on_another_modality(classes_root, tmp_path, test_modality):
    config = tiny_config(
        classes_root,
        model={
            "name": "fusion/shared/smallcnn",
            "options": {"modality": "sound", "backbone_options": {"widths": [8, 16]}},
            "test_modality": test_modality,
        },
        clip={"channels": "rgb"},
    )

    result = train_run(config, tmp_path)

    assert result.cross.num_clips == 8
    assert result.cross.loss != result.train.test.loss
    assert [e for e, _ in read_metrics(tmp_path / "metrics.jsonl")][-2:] == ["test", "cross"]


def test_another_modality_goes_with_a_shared_encoder_only(classes_root, tmp_path):
    config = tiny_config(classes_root, model={"test_modality": "sound"})

    with pytest.raises(ConfigError, match="fusion/shared"):
        train_run(config, tmp_path)


def test_windows_are_scored_one_by_one_and_averaged_over_their_sample(classes_root, tmp_path):
    config = tiny_config(
        classes_root,
        clip={"window": "sliding", "window_seconds": 0.5, "hop_seconds": 0.2, "frame_stride": 1},
        data={"batch_size": 8},
        epochs=1,
    )

    test = train_run(config, tmp_path).train.test

    # 1.2 s: windows at 0, 0.2, 0.4 and 0.6 s.
    assert (test.scores.num_clips, test.by_sample.num_clips) == (32, 8)


@pytest.mark.parametrize(
    ("clip", "num_planes"), [({"channels": ("flow", "mel")}, 2), ({"channels": "gray3"}, 3)]
)
def test_a_subset_of_channels_trains(classes_root, tmp_path, clip, num_planes):
    train_run(tiny_config(classes_root, clip=clip, epochs=1), tmp_path)

    assert load_run(tmp_path).model(
        torch.zeros((1, num_planes, 2, 16, 16), dtype=torch.uint8)
    ).shape == (1, 3)


@pytest.mark.parametrize("loss", ["bce", "mse", "pair", "softrank"])
def test_every_loss_for_targets_trains(targets_root, tmp_path, loss):
    test = train_run(tiny_config(targets_root, loss=loss, epochs=1), tmp_path).train.test

    assert test.score_name == ("accuracy" if loss == "bce" else "spearman")


def test_a_learning_rate_search_makes_a_run_each_and_names_the_best(classes_root, tmp_path):
    config = tiny_config(classes_root)

    results = search_learning_rate(config, [1e-6, 1e-2], tmp_path)

    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["best_lr"] == best_rate(results, config=config).rate == 1e-2
    assert [RunDirectory(path=tmp_path / run["run"]).exists() for run in summary["runs"]] == [
        True,
        True,
    ]


def test_every_rate_of_a_search_begins_with_the_same_weights(classes_root, tmp_path):
    config = tiny_config(classes_root, epochs=1)

    search_learning_rate(config, [1e-5, 1e-2], tmp_path)

    first = [step_losses(tmp_path / name)[0] for name in ("lr-1e-05", "lr-0.01")]
    assert first[0] == first[1]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"root": ""}, "data.root is empty"),
        ({"val_split": "dev"}, r"data\.val_split='dev'; it has|data\.val_split='dev'"),
        ({"batch_size": 5}, "multiple of"),
    ],
)
def test_data_that_cannot_be_had_is_refused_before_training(classes_root, tmp_path, data, message):
    with pytest.raises(ConfigError, match=message):
        train_run(tiny_config(classes_root, data=data, accumulation=2), tmp_path)


def test_trackers_by_name_write_into_the_run(classes_root, tmp_path):
    pytest.importorskip("tensorboard")
    config = tiny_config(classes_root, epochs=1, record={"trackers": ("auto",)})

    train_run(config, tmp_path)

    assert list(tmp_path.rglob("events.out.tfevents.*"))


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.filterwarnings("ignore")  # those of torch's compiler are not ours
def test_a_compiled_model_trains_and_its_weights_load_without_a_compiler(classes_root, tmp_path):
    config = tiny_config(classes_root, epochs=1, compile=True)

    result = train_run(config, tmp_path)

    assert result.train.num_parameters == sum(
        parameter.numel() for parameter in load_run(tmp_path).model.parameters()
    )
