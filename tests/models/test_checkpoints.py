import pickle

import pytest
import torch
from safetensors.torch import save_file

from fmrgb_stream.errors import ConfigError
from fmrgb_stream.models import create_model
from fmrgb_stream.shards.manifest import ChannelStats
from tests.support.models import random_inputs

SMALL = {"backbone_options": {"widths": (8,)}}


def small_model(name="smallcnn", **options):
    return create_model(name, **({"num_classes": 3} | SMALL | options))


@pytest.fixture
def trained():
    stats = {"red": ChannelStats(mean=0.3, std=0.1)}
    return small_model(channel_stats=stats).eval()


def saved(model, file, kind):
    state = {name: value.contiguous() for name, value in model.state_dict().items()}
    if kind == "safetensors":
        save_file(state, file)
    elif kind == "wrapped":
        wrapped = {f"module.{name}": value for name, value in state.items()}
        torch.save({"model": wrapped, "epoch": 3}, file)
    else:
        torch.save(state, file)
    return file


@pytest.mark.parametrize("kind", ["safetensors", "pt", "wrapped"])
def test_a_file_gives_back_the_model_and_its_statistics(trained, tmp_path, kind):
    file = saved(trained, tmp_path / f"model.{kind.replace('wrapped', 'pt')}", kind)

    loaded = small_model(checkpoint=file).eval()

    inputs = random_inputs(trained)
    torch.testing.assert_close(loaded(*inputs), trained(*inputs))


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"none\.pt"):
        small_model(checkpoint=tmp_path / "none.pt")


class Trap:
    opened = False

    def __reduce__(self):
        return (setattr, (Trap, "opened", True))


def test_a_file_with_code_in_it_is_refused_and_not_run(tmp_path):
    file = tmp_path / "trap.pt"
    torch.save({"model": Trap()}, file)

    with pytest.raises(ConfigError, match="more than tensors"):
        small_model(checkpoint=file)
    assert not Trap.opened


def test_the_trap_would_have_sprung():
    pickle.loads(pickle.dumps(Trap()))
    sprung, Trap.opened = Trap.opened, False

    assert sprung


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"num_classes": 5}, "of another shape.*head.*new_head=True"),
        ({"backbone_options": {"widths": (8, 8)}}, "missing"),
        ({"pooling": "attention"}, "missing.*pool"),
    ],
)
def test_weights_that_do_not_fit_are_named(trained, tmp_path, other, message):
    file = saved(trained, tmp_path / "model.safetensors", "safetensors")

    with pytest.raises(ConfigError, match=message):
        small_model(checkpoint=file, **other)


@pytest.mark.parametrize("name", ["smallcnn", "moe/smallcnn"])
def test_a_new_head_takes_all_but_the_head(tmp_path, name):
    trained = small_model(name).eval()
    file = saved(trained, tmp_path / "model.safetensors", "safetensors")

    loaded = small_model(name, num_classes=7, checkpoint=file, new_head=True).eval()

    inputs = random_inputs(trained)
    torch.testing.assert_close(loaded.embed(*inputs), trained.embed(*inputs))
    assert loaded(*inputs).shape == (2, 7)


def test_a_new_head_without_a_checkpoint_is_refused():
    with pytest.raises(ConfigError, match="checkpoint"):
        small_model(new_head=True)
