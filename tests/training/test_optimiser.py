import pytest
import torch

from fmrgb_stream.config import TrainConfig
from fmrgb_stream.errors import ConfigError
from fmrgb_stream.training.optimiser import learning_rate_at, make_optimiser


def rates(num_steps, **settings):
    config = TrainConfig(lr=1.0, **settings)
    return [learning_rate_at(step, num_steps, config) for step in range(num_steps)]


def test_warm_up_rises_in_equal_steps_to_the_peak():
    assert rates(10, warmup_fraction=0.4)[:4] == pytest.approx([0.25, 0.5, 0.75, 1.0])


def test_cosine_is_at_half_height_half_way():
    assert rates(10, warmup_fraction=0.0)[5] == pytest.approx(0.5)


def test_cosine_never_rises_after_warm_up():
    after = rates(50, warmup_fraction=0.1)[5:]

    assert after == sorted(after, reverse=True)
    assert after[-1] < 0.01


def test_constant_stays_at_the_peak():
    assert set(rates(10, schedule="constant", warmup_fraction=0.1)[1:]) == {1.0}


def test_every_parameter_is_optimised_and_only_matrices_decay():
    model = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.LayerNorm(2))
    optimiser = make_optimiser(model, TrainConfig(weight_decay=0.1))

    decay = {
        id(parameter): group["weight_decay"]
        for group in optimiser.param_groups
        for parameter in group["params"]
    }

    assert {name: decay[id(p)] for name, p in model.named_parameters()} == {
        "0.weight": 0.1,
        "0.bias": 0.0,
        "1.weight": 0.0,
        "1.bias": 0.0,
    }


def test_frozen_parameters_are_left_out():
    model = torch.nn.Linear(3, 2)
    model.weight.requires_grad_(False)

    optimiser = make_optimiser(model, TrainConfig())

    assert [len(group["params"]) for group in optimiser.param_groups] == [1]


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"loss": "hinge"}, "softrank"),
        ({"lr": 0.0}, "lr=0"),
        ({"epochs": 0}, "epochs=0"),
        ({"warmup_fraction": 1.5}, "0..1"),
        ({"weight_decay": -1.0}, "negative"),
        ({"loss": "mse", "label_smoothing": 0.1}, "cross_entropy"),
    ],
)
def test_settings_that_cannot_work_are_refused(setting, message):
    with pytest.raises(ConfigError, match=message):
        TrainConfig(**setting)
