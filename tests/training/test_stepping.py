import math

import numpy as np
import pytest
import torch
from accelerate.state import AcceleratorState

from fmrgb_stream.errors import ConfigError
from fmrgb_stream.training import Loaders, TrainConfig, evaluate, train
from fmrgb_stream.training.acceleration import make_accelerator, tracker_names
from fmrgb_stream.training.averaging import AveragedWeights
from fmrgb_stream.training.progress import profile_line
from fmrgb_stream.training.records import StepProfile
from fmrgb_stream.training.step_profile import StageClock
from tests.support.training import ListLoader, make_batch
from tests.training.test_trainer import Brightness


@pytest.fixture
def fresh_state():
    """Accelerate keeps one precision a process; this test chooses its own."""
    AcceleratorState._reset_state(reset_partial_state=True)
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


def loaders(*batches):
    return Loaders(train=ListLoader(batches), val=ListLoader(batches))


def test_averaged_weights_follow_the_formula():
    model = torch.nn.Linear(1, 1, bias=False)
    values = np.random.default_rng(0).normal(size=30)
    torch.nn.init.constant_(model.weight, values[0])
    average, wanted = AveragedWeights(model, decay=0.7), values[0]

    for n, value in enumerate(values[1:]):
        torch.nn.init.constant_(model.weight, value)
        average.update(model)
        decay = min(0.7, (1 + n) / (10 + n))
        wanted = decay * wanted + (1 - decay) * value

    assert float(average.model.weight) == pytest.approx(wanted, rel=1e-5)


def test_counters_are_copied_into_the_average():
    model = torch.nn.BatchNorm1d(2)
    average = AveragedWeights(model, decay=0.9)
    model(torch.randn(4, 2))

    average.update(model)

    assert int(average.model.num_batches_tracked) == 1


def test_the_average_is_what_is_validated_and_kept():
    model = Brightness()
    batch = make_batch(labels=[0, 1, 2])
    config = TrainConfig(epochs=1, lr=1.0, ema_decay=1.0, warmup_fraction=0.0)

    result = train(model, loaders(batch), config=config)

    # The first step takes a tenth of the old weights, whatever the decay.
    kept = evaluate(model, ListLoader([batch]), config=config)
    assert kept.loss == pytest.approx(result.best.val.loss, abs=1e-6)


def test_clips_without_a_label_count_neither_in_training_nor_in_scores():
    labelled = make_batch(labels=[0, 1], seed=1)
    some = make_batch(labels=[0, 1, 0, 0], clip=torch.cat([labelled.clip] * 2))
    some.labels[2:] = -100
    config = TrainConfig(epochs=1, warmup_fraction=0.0)

    models = [Brightness(), Brightness()]
    results = [
        train(model, loaders(batch), config=config)
        for model, batch in zip(models, (some, labelled), strict=True)
    ]

    assert results[0].best.val.num_clips == 2
    torch.testing.assert_close(models[0].head.weight, models[1].head.weight)


def test_clips_with_a_missing_target_do_not_make_the_loss_nan():
    batch = make_batch(targets=[[0.0, 1.0], [math.nan, 1.0], [1.0, 0.0]])

    result = train(Brightness(2), loaders(batch), config=TrainConfig(epochs=1, loss="mse"))

    assert math.isfinite(result.best.train_loss)
    assert result.best.val.num_clips == 2


def test_bce_on_classes_gives_class_scores():
    batch = make_batch(labels=[0, 1, 2])

    result = train(Brightness(), loaders(batch), config=TrainConfig(epochs=1, loss="bce"))

    assert len(result.best.val.confusion) == 3


@pytest.mark.usefixtures("fresh_state")
def test_bf16_trains_on_a_cpu():
    batch = make_batch(labels=[0, 1, 2])
    config = TrainConfig(epochs=2, mixed_precision="bf16", ema_decay=0.5)

    result = train(Brightness(), loaders(batch), config=config)

    assert math.isfinite(result.best.val.loss)


@pytest.mark.usefixtures("fresh_state")
def test_another_precision_in_the_same_process_is_refused():
    make_accelerator()

    with pytest.raises(ConfigError, match="Accelerate"):
        make_accelerator(mixed_precision="bf16")


def test_training_steps_are_timed_stage_by_stage():
    batch = make_batch(labels=[0, 1, 2])

    (profile,) = train(
        Brightness(), loaders(*[batch] * 5), config=TrainConfig(epochs=1)
    ).best.profiles

    stages = [
        getattr(profile, f"{name}_seconds")
        for name in ("wait", "to_device", "forward", "backward", "optimiser")
    ]
    assert profile.num_clips == 15
    assert min(stages) > 0
    assert 0.5 * profile.seconds < sum(stages) <= profile.seconds


def test_a_pause_is_not_counted(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("time.perf_counter", lambda: now[0])
    clock = StageClock(torch.device("cpu"))

    for moment, act in [
        (1.0, clock.begin),
        (3.0, lambda: clock.mark("wait")),
        (50.0, clock.begin),
        (51.0, lambda: clock.mark("forward")),
    ]:
        now[0] = moment
        act()

    profile = clock.profile(rank=0, num_clips=6)
    assert (profile.wait_seconds, profile.forward_seconds, profile.seconds) == (2.0, 1.0, 3.0)
    assert profile.clips_per_second == 2.0


def test_a_profile_line_names_the_share_of_every_stage():
    profile = StepProfile(
        rank=1,
        num_clips=40,
        seconds=4.0,
        wait_seconds=0.4,
        to_device_seconds=0.0,
        forward_seconds=1.0,
        backward_seconds=2.0,
        optimiser_seconds=0.2,
    )

    assert profile_line(profile).startswith("rank 1: 10.0 clips/s  data wait 10.0%")


def test_auto_is_tensorboard_where_it_is_installed(monkeypatch):
    pytest.importorskip("tensorboard")
    assert tracker_names(("auto",)) == tracker_names(("tensorboard",)) == ("tensorboard",)
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    assert tracker_names(("auto",)) == ()


def test_a_launcher_that_accelerate_did_not_follow_is_refused(monkeypatch):
    make_accelerator()
    for name, value in {"RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "0"}.items():
        monkeypatch.setenv(name, value)

    with pytest.raises(ConfigError, match="began 2 processes"):
        make_accelerator()


def test_a_loader_that_ends_early_is_told():
    loader = ListLoader([make_batch(labels=[0, 1])] * 2)
    loader.__class__ = type("Long", (ListLoader,), {"__len__": lambda _: 3})

    with pytest.raises(ConfigError, match="2 of 3 batches"):
        train(Brightness(), Loaders(train=loader, val=loader), config=TrainConfig(epochs=1))
