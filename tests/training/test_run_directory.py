import pytest
import torch
import yaml
from safetensors.torch import save_file

from fmrgb_stream.config import ClipConfig, ModelConfig, RunConfig, TrainConfig
from fmrgb_stream.errors import ConfigError
from fmrgb_stream.models import create_model
from fmrgb_stream.training.run_directory import RunDirectory, RunFacts, load_run

CONFIG = RunConfig(
    clip=ClipConfig(num_frames=4, size=(24, 32), channels=("mel", "flow")),
    model=ModelConfig(name="smallcnn", options={"backbone_options": {"widths": [8, 16]}}),
    train=TrainConfig(loss="mse", ema_decay=0.9),
)
FACTS = RunFacts(num_outputs=3, classes=(), target_names=("a", "b", "c"), num_processes=2)


def make_model(seed):
    torch.manual_seed(seed)
    return create_model(
        "smallcnn",
        num_classes=3,
        channels=("mel", "flow"),
        backbone_options={"widths": [8, 16]},
    )


def test_config_and_facts_come_back_as_they_were_written(tmp_path):
    directory = RunDirectory(path=tmp_path / "run")

    directory.write(CONFIG, FACTS)

    assert directory.read() == (CONFIG, FACTS)


def test_the_model_of_a_run_is_built_and_loaded_from_its_folder(tmp_path):
    directory, trained = RunDirectory(path=tmp_path), make_model(1).eval()
    directory.write(CONFIG, FACTS)
    save_file(trained.state_dict(), directory.weights_path)
    clip = torch.randint(0, 256, (2, 2, 4, 24, 32), dtype=torch.uint8)

    run = load_run(tmp_path)

    torch.testing.assert_close(run.model(clip), trained(clip), rtol=0, atol=0)


def test_a_run_without_weights_says_that_no_epoch_was_finished(tmp_path):
    RunDirectory(path=tmp_path).write(CONFIG, FACTS)

    with pytest.raises(ConfigError, match="no epoch"):
        load_run(tmp_path)


def test_a_folder_that_is_no_run_names_the_cure(tmp_path):
    with pytest.raises(ConfigError, match="--out"):
        load_run(tmp_path)


@pytest.mark.parametrize("text", ["", "[1]", "data: {}", "a: b: c"])
def test_a_damaged_config_is_refused(tmp_path, text):
    (tmp_path / "config.yaml").write_text(text)

    with pytest.raises(ConfigError, match=r"config\.yaml"):
        load_run(tmp_path)


def test_a_run_of_a_later_format_is_refused(tmp_path):
    directory = RunDirectory(path=tmp_path)
    directory.write(CONFIG, FACTS)
    content = yaml.safe_load(directory.config_path.read_text())
    content["made"]["format_version"] = 99
    directory.config_path.write_text(yaml.safe_dump(content))

    with pytest.raises(ConfigError, match="format_version 99"):
        load_run(tmp_path)
