import json
from pathlib import Path

import pytest
import yaml

from fmrgb_stream.cli.main import main
from fmrgb_stream.cli.presets import find_config, preset_names
from fmrgb_stream.config import RunConfig, config_from_plain, plain_config
from fmrgb_stream.errors import ConfigError
from tests.support.runs import pack_table, step_losses, tiny_config, write_colours

PRESETS = [
    "demo",
    "s0_regression",
    "s1_shared_encoder",
    "s2_ravdess",
    "s3_crnn_genre",
    "s4_music_emotion",
]


@pytest.fixture(scope="module")
def roots(tmp_path_factory):
    """A dataset of classes and the same clips with targets."""
    folder = tmp_path_factory.mktemp("roots")
    classes, targets = write_colours(folder / "media", {"train": 8, "val": 4, "test": 4})
    return pack_table(classes, folder / "classes"), pack_table(targets, folder / "targets")


@pytest.fixture
def config_path(roots, tmp_path):
    """A file that trains for a second."""
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(plain_config(tiny_config(roots[0]))))
    return path


def train(*words):
    # The page has tests of its own: test_asking.py.
    return main(["train", *(str(word) for word in words), "--no_report"])


def test_a_run_ends_with_zero_and_prints_every_epoch_with_its_step_profile(
    config_path, tmp_path, capsys
):
    code = train("--config", config_path, "--out", tmp_path / "run")

    lines = capsys.readouterr().out.splitlines()
    assert code == 0
    assert [line.split()[1] for line in lines if line.startswith("epoch")] == ["1/2", "2/2"]
    assert sum("rank 0" in line and "data wait" in line for line in lines) == 2


def test_json_is_one_object_with_history_and_test(config_path, tmp_path, capsys):
    train("--config", config_path, "--out", tmp_path / "run", "--json")

    result = json.loads(capsys.readouterr().out)
    assert result["run"] == str(tmp_path / "run")
    assert len(result["history"]) == 2
    assert result["history"][0]["profiles"][0]["rank"] == 0


def test_flags_win_over_the_config_file(config_path, tmp_path):
    train("--config", config_path, "--out", tmp_path / "run", "--train.epochs", 1)

    assert len(step_losses(tmp_path / "run")) == 2


def test_a_run_goes_on_with_the_settings_in_its_own_folder(config_path, tmp_path, capsys):
    train("--config", config_path, "--out", tmp_path / "run", "--train.seed", 5)
    capsys.readouterr()

    code = train("--resume", tmp_path / "run")

    assert code == 0
    assert "goes on after step 4" in capsys.readouterr().out


def test_a_run_goes_on_from_a_checkpoint_by_its_path(config_path, tmp_path, capsys):
    train("--config", config_path, "--out", tmp_path / "run")
    whole = step_losses(tmp_path / "run")

    train("--resume", tmp_path / "run" / "checkpoints" / "step-00000002")

    assert "goes on after step 2" in capsys.readouterr().out
    assert step_losses(tmp_path / "run") == whole


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--resume", "{run}", "--train.lr", 0.5], "train.lr=0.5"),
        (["--resume", "{tmp}"], "run directory"),
        (["--config", "{config}", "--out", "{run}"], "--overwrite"),
        (["--config", "s9"], "s4_music_emotion"),
        (["--config", "{config}", "--out", "{tmp}/x", "--window", 5], "--hop"),
        (["--config", "{config}", "--out", "{tmp}/x", "--lr-search", "a,b"], "numbers"),
        (["--config", "{config}", "--out", "{tmp}/x", "--data.root", "{tmp}"], "manifest.json"),
        (["--config", "{config}", "--out", "{tmp}/x", "--model.name", "resnot"], "no model"),
        (["--config", "{config}", "--out", "{tmp}/x", "--train.loss", "mse"], "targets"),
        (["--config", "{config}", "--out", "{tmp}/x", "--train.mixed-precision", "fp16",
          "--data.device", "cpu"], "bf16"),
    ],
)  # fmt: skip
def test_what_cannot_work_ends_with_two_and_the_cure(config_path, tmp_path, capsys, words, message):
    run = tmp_path / "run"
    if "{run}" in words:
        train("--config", config_path, "--out", run, "--train.epochs", 1)
        capsys.readouterr()
    names = {"run": run, "tmp": tmp_path, "config": config_path}

    code = train(*(str(word).format(**names) for word in words))

    assert code == 2
    assert message in capsys.readouterr().err


def test_a_learning_rate_search_prints_a_table_that_marks_the_best(config_path, tmp_path, capsys):
    code = train("--config", config_path, "--out", tmp_path / "s", "--lr-search", "1e-4,1e-2")

    assert code == 0
    assert capsys.readouterr().out.count(" *") == 1
    assert (tmp_path / "s" / "summary.json").is_file()


def test_a_page_that_cannot_be_made_costs_no_result(config_path, tmp_path, capsys, caplog):
    from fmrgb_stream.training import run_report

    def refuse(*_args, **_options):
        raise ConfigError("no pictures here")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_report, "write_report", refuse)
        code = main(["train", "--config", str(config_path), "--out", str(tmp_path / "run")])

    assert code == 0
    assert "best epoch" in capsys.readouterr().out
    assert "no report: no pictures here" in caplog.text


def test_window_and_hop_make_every_window_a_clip(config_path, tmp_path, capsys):
    train(
        "--config", config_path, "--out", tmp_path / "run", "--json",
        "--window", 0.5, "--hop", 0.2, "--train.epochs", 1,
    )  # fmt: skip

    assert json.loads(capsys.readouterr().out)["test"]["num_clips"] == 16


def test_every_preset_is_a_whole_config():
    assert preset_names() == PRESETS
    for name in PRESETS:
        content = yaml.safe_load(find_config(name).read_text())
        assert config_from_plain(RunConfig, content) != RunConfig()


def test_a_file_in_the_way_of_a_preset_name_is_taken(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "demo").write_text("")

    assert find_config("demo") == Path("demo")


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.filterwarnings("ignore::DeprecationWarning:librosa")
@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_trains_on_small_clips(roots, tmp_path, capsys, name):
    if name == "s4_music_emotion":
        pytest.importorskip("librosa")
    root = roots[1] if name == "s0_regression" else roots[0]

    code = train(
        "--config", name, "--out", tmp_path / "run", "--json",
        "--data.root", root, "--data.batch-size", 4, "--data.num-workers", 1,
        "--clip.size", "[32,32]", "--train.epochs", 1, "--record.trackers", "[]",
        "--no_model.pretrained",
    )  # fmt: skip

    result = json.loads(capsys.readouterr().out)
    assert code == 0
    assert len(step_losses(tmp_path / "run")) == 2
    assert result["test"]["num_clips"] == 4
