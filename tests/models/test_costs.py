import pytest

from fmrgb_stream.models import ModelCost, cost_table, model_cost


def test_a_perceptron_costs_what_is_counted_by_hand():
    cost = model_cost("mlp", num_classes=8)

    weights = 26 * 256 + 256 * 128 + 128 * 8
    assert cost.num_macs == weights
    assert cost.num_parameters == weights + 256 + 128 + 8


def test_convolutions_cost_what_is_counted_by_hand():
    cost = model_cost(
        "smallcnn",
        num_classes=2,
        channels="rgb",
        num_frames=3,
        size=(16, 24),
        backbone_options={"widths": (4, 6)},
    )

    a_frame = (3 * 4 * 9) * (8 * 12) + (4 * 6 * 9) * (4 * 6)
    assert cost.num_macs == 3 * a_frame + 6 * 2
    assert cost.num_parameters == 3 * 4 * 9 + 2 * 4 + 4 * 6 * 9 + 2 * 6 + 6 * 2 + 2


@pytest.mark.parametrize(("name", "millions"), [("slowfast_r50", 34.57), ("slowfast_r101", 62.83)])
def test_slowfast_is_as_large_as_published(name, millions):
    """PyTorchVideo's model zoo, Kinetics-400, 8x8."""
    cost = model_cost(name, num_classes=400, channels="rgb", num_frames=4, size=(32, 32))

    assert round(cost.num_parameters / 1e6, 2) == millions


def test_slowfast_costs_what_is_published():
    """The same table; its FLOPs are multiply-adds."""
    cost = model_cost(
        "slowfast_r50", num_classes=400, channels="rgb", num_frames=32, size=(256, 256)
    )

    assert round(cost.num_macs / 1e9, 2) == 65.71


def test_the_table_has_a_row_for_each_model():
    table = cost_table(
        [ModelCost(name="a/b", num_parameters=11_500_000, num_macs=8_070_000_000)]
    ).splitlines()

    assert [cell.strip() for cell in table[2].split("|")[1:-1]] == ["a/b", "11.50", "8.07"]
