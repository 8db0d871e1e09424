"""Five numbers of each clip are learned so well that clips are ranked right."""

import pytest

from fmrgb_stream.training.experiment import train_run
from tests.support.runs import pack_table, tiny_config, write_colours

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]


@pytest.fixture(scope="module")
def many_targets(tmp_path_factory):
    folder = tmp_path_factory.mktemp("many")
    _, table = write_colours(folder / "media", {"train": 96, "val": 24, "test": 32})
    return pack_table(table, folder / "dataset")


@pytest.mark.parametrize("loss", ["mse", "softrank"])
def test_five_targets_are_ranked_by_both_losses(many_targets, tmp_path, loss):
    config = tiny_config(
        many_targets,
        data={"batch_size": 16},
        model={"options": {"backbone_options": {"widths": [16, 32]}}},
        epochs=60,
        lr=1e-2,
        loss=loss,
        rank_axis="batch",
        select_by="score",
    )

    test = train_run(config, tmp_path).train.test

    assert test.score >= 0.9
    assert test.scores.spearman_of_sum >= 0.9
