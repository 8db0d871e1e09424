import pytest
import torch

from fmrgb_stream.config import TrainConfig
from fmrgb_stream.errors import ConfigError
from fmrgb_stream.training.optimiser import make_optimiser
from fmrgb_stream.training.schedule import make_schedule


def rates(*, steps_per_epoch, **settings):
    """The learning rate of every step, at a peak of 1."""
    config = TrainConfig(lr=1.0, **settings)
    optimiser = make_optimiser(torch.nn.Linear(2, 2), config)
    schedule = make_schedule(optimiser, config, steps_per_epoch=steps_per_epoch)
    found = []
    for step in range(config.epochs * steps_per_epoch):
        schedule.step_update(step)
        found.append(optimiser.param_groups[0]["lr"])
    return found


def test_warm_up_rises_in_equal_steps_to_the_peak():
    found = rates(epochs=1, steps_per_epoch=10, warmup_fraction=0.4)

    assert found[:5] == pytest.approx([0.25, 0.4375, 0.625, 0.8125, 1.0])


def test_cosine_is_at_half_height_half_way():
    assert rates(epochs=2, steps_per_epoch=5, warmup_fraction=0.0)[5] == pytest.approx(0.5)


@pytest.mark.parametrize("schedule", ["cosine", "tanh", "poly"])
def test_schedules_that_fall_never_rise_after_warm_up(schedule):
    after = rates(epochs=5, steps_per_epoch=20, warmup_fraction=0.1, schedule=schedule)[10:]

    assert after == sorted(after, reverse=True)
    assert after[-1] < 0.15


def test_constant_stays_at_the_peak():
    found = rates(epochs=10, steps_per_epoch=2, schedule="constant", warmup_fraction=0.1)

    assert set(found[2:]) == {1.0}


def test_step_falls_to_a_tenth_every_ten_epochs():
    found = rates(epochs=21, steps_per_epoch=3, schedule="step", warmup_fraction=0.0)

    assert found == pytest.approx([1.0] * 30 + [0.1] * 30 + [0.01] * 3)


@pytest.mark.parametrize(
    ("name", "kind"), [("adam", torch.optim.Adam), ("adamw", torch.optim.AdamW)]
)
def test_the_optimiser_is_the_one_that_was_named(name, kind):
    optimiser = make_optimiser(torch.nn.Linear(2, 2), TrainConfig(optimiser=name))

    assert type(optimiser) is kind


def test_a_model_without_anything_to_train_is_refused():
    with pytest.raises(ConfigError, match="no trainable"):
        make_optimiser(torch.nn.Linear(2, 2).requires_grad_(False), TrainConfig())


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
        ({"accumulation": 0}, "accumulation=0"),
        ({"ema_decay": 1.5}, "0..1"),
        ({"weight_decay": -1.0}, "negative"),
        ({"loss": "mse", "label_smoothing": 0.1}, "cross_entropy"),
    ],
)
def test_settings_that_cannot_work_are_refused(setting, message):
    with pytest.raises(ConfigError, match=message):
        TrainConfig(**setting)
