import json
import math

import pytest
import torch

from fmrgb_stream.errors import ConfigError
from fmrgb_stream.models import create_model
from fmrgb_stream.training import Loaders, TrainConfig, evaluate, train
from fmrgb_stream.training.metrics_file import MetricsFile, read_metrics
from tests.support.training import ListLoader, make_batch

CONFIG = TrainConfig(epochs=4, lr=5e-3, warmup_fraction=0.0)


class Brightness(torch.nn.Module):
    """Mean of each plane -> outputs; small enough to train in a blink."""

    def __init__(self, num_outputs=3, *, seed=0):
        super().__init__()
        torch.manual_seed(seed)
        self.head = torch.nn.Linear(5, num_outputs)

    def forward(self, clip, num_valid_frames):
        assert num_valid_frames.shape == clip.shape[:1]
        return self.head(clip.float().mean(dim=(2, 3, 4)) / 255)


class Recites(torch.nn.Module):
    """Gives, epoch after epoch of validation, the next of a list of constant outputs."""

    def __init__(self, outputs):
        super().__init__()
        self.outputs = outputs
        self.bias = torch.nn.Parameter(torch.zeros(2))
        self.register_buffer("validations", torch.tensor(0))

    def forward(self, clip, num_valid_frames):
        del num_valid_frames
        if not self.training:
            self.validations += 1
        step = min(int(self.validations), len(self.outputs)) - 1
        return torch.tensor(self.outputs[step]).expand(len(clip), 2) + 0 * self.bias


def class_batches(seed=0, num_batches=4):
    return [make_batch(labels=[0, 1, 2, 1, 0, 2], seed=seed + i) for i in range(num_batches)]


def class_loaders():
    return Loaders(
        train=ListLoader(class_batches(0)),
        val=ListLoader(class_batches(100, 1)),
        test=ListLoader(class_batches(200, 1)),
    )


def target_loaders(num_clips=8):
    targets = [[float(i), float(-i)] for i in range(num_clips)]
    clip = torch.arange(0, 25 * num_clips, 25, dtype=torch.uint8).view(-1, 1, 1, 1, 1)
    batch = make_batch(clip=clip.expand(-1, 5, 2, 4, 4).contiguous(), targets=targets)
    return Loaders(train=ListLoader([batch] * 5), val=ListLoader([batch]), test=None)


def test_a_backbone_learns_classes_that_can_be_seen():
    torch.manual_seed(0)
    model = create_model("frame_pool/test_resnet", num_classes=3)

    result = train(model, class_loaders(), config=CONFIG)

    assert result.test.score == 1.0
    assert result.history[-1].train_loss < result.history[0].train_loss / 2


def test_the_same_seed_gives_the_same_weights():
    states = []
    for _ in range(2):
        torch.manual_seed(3)
        model = create_model("frame_pool/test_resnet", num_classes=3, drop_rate=0.5)
        train(model, class_loaders(), config=TrainConfig(epochs=1, seed=5))
        states.append(model.state_dict())

    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_every_epoch_is_announced_to_the_training_loader():
    loaders = class_loaders()

    train(Brightness(), loaders, config=CONFIG)

    assert loaders.train.epochs == [0, 1, 2, 3]


def recited_run(outputs, **settings):
    """Validation labels are all 1: the second output is how sure the model is of the truth."""
    loader = ListLoader([make_batch(labels=[1, 1])])
    model = Recites(outputs)
    config = TrainConfig(epochs=len(outputs), **settings)
    return model, train(model, Loaders(train=loader, val=loader), config=config)


def test_the_best_epoch_is_the_one_with_the_lowest_validation_loss():
    _, result = recited_run([[0.0, 0.0], [0.0, 2.0], [0.0, 1.0]])

    assert result.best_epoch == 1


def test_the_score_can_choose_the_best_epoch_instead():
    # Epoch 1 is right but unsure, epoch 2 is right and sure: loss prefers 2, score keeps the first.
    _, result = recited_run([[1.0, 0.0], [0.0, 0.1], [0.0, 3.0]], select_by="score")

    assert result.best_epoch == 1


def test_the_model_ends_with_the_weights_of_the_best_epoch():
    model, _ = recited_run([[0.0, 0.0], [0.0, 2.0], [0.0, 1.0]])

    assert int(model.validations) == 2


def test_training_stops_when_patience_runs_out():
    _, result = recited_run([[0.0, 2.0], [0.0, 1.0], [0.0, 0.5], [0.0, 3.0]], patience=2)

    assert len(result.history) == 3


@pytest.mark.parametrize("loss", ["mse", "pair", "softrank"])
def test_every_target_loss_learns_to_rank_clips(loss):
    config = TrainConfig(
        epochs=20, lr=0.1, loss=loss, softrank_tau=1.0, weight_decay=0.0, schedule="constant"
    )

    result = train(Brightness(2), target_loaders(), config=config)

    assert result.best.val.spearman_by_target == pytest.approx([1.0, 1.0])


def test_padding_clips_do_not_count_in_an_evaluation():
    # Brightness 40 is class 0; the padding clips are mislabelled on purpose.
    batch = make_batch(labels=[0, 0, 0, 0], is_padding=[False, False, True, True])
    clean = make_batch(labels=[0, 0])
    loader = ListLoader(class_batches())
    model = Brightness()
    train(model, Loaders(train=loader, val=loader), config=TrainConfig(epochs=30, lr=0.2))
    batch.labels[2:] = 2

    padded, plain = (evaluate(model, ListLoader([b]), config=CONFIG) for b in (batch, clean))

    assert (padded.num_clips, padded.score) == (2, plain.score)


def test_an_evaluation_counts_every_clip_in_the_confusion_matrix():
    result = evaluate(Brightness(), ListLoader(class_batches(num_batches=2)), config=CONFIG)

    assert [sum(row) for row in result.confusion] == [4, 4, 4]


def test_a_constant_predictor_has_no_score_for_targets():
    model = Brightness(2)
    torch.nn.init.zeros_(model.head.weight)

    result = evaluate(model, target_loaders().val, config=TrainConfig(loss="mse"))

    assert math.isnan(result.score)


def test_metrics_are_one_json_line_an_epoch_and_one_for_the_test(tmp_path):
    path = tmp_path / "runs" / "metrics.jsonl"

    train(Brightness(), class_loaders(), config=CONFIG, metrics=MetricsFile(path), label="a run")

    lines = [json.loads(line) for line in path.read_text().splitlines()]
    events = [line["event"] for line in lines if line["event"] != "step"]
    assert events == ["epoch"] * 4 + ["test"]
    assert {line["run"] for line in lines} == {"a run"}


def test_metrics_hold_the_loss_and_learning_rate_of_every_step(tmp_path):
    path = tmp_path / "metrics.jsonl"

    train(Brightness(), class_loaders(), config=CONFIG, metrics=MetricsFile(path))

    steps = [record for event, record in read_metrics(path) if event == "step"]
    assert [record.step for record in steps] == list(range(1, 17))
    assert {record.epoch for record in steps[4:8]} == {1}


def test_records_come_back_from_the_file_as_they_were(tmp_path):
    path = tmp_path / "metrics.jsonl"

    result = train(Brightness(), class_loaders(), config=CONFIG, metrics=MetricsFile(path))

    read = [record for event, record in read_metrics(path) if event != "step"]
    assert read == [*result.history, result.test]


def test_a_score_that_is_not_a_number_is_null_in_json(tmp_path):
    model = Brightness(2)
    torch.nn.init.zeros_(model.head.weight)
    record = evaluate(model, target_loaders().val, config=TrainConfig(loss="mse"))

    MetricsFile(tmp_path / "m.jsonl").write("run", "test", record)

    assert json.loads((tmp_path / "m.jsonl").read_text())["score"] is None


@pytest.mark.parametrize(
    ("loss", "loaders"), [("cross_entropy", target_loaders), ("mse", class_loaders)]
)
def test_a_loss_that_does_not_fit_the_dataset_names_the_cure(loss, loaders):
    with pytest.raises(ConfigError, match="use"):
        train(Brightness(), loaders(), config=TrainConfig(loss=loss))


def test_a_loss_that_is_not_finite_stops_the_run():
    model = Brightness()
    torch.nn.init.constant_(model.head.weight, float("nan"))

    with pytest.raises(ConfigError, match="lower lr"):
        train(model, class_loaders(), config=CONFIG)
