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


def test_slowfast_costs_what_is_published():
    """PyTorchVideo's model zoo, SLOWFAST_8x8_R50: 65.71 GFLOPs (multiply-adds), 34.57 M parameters."""
    cost = model_cost(
        "slowfast_r50", num_classes=400, channels="rgb", num_frames=32, size=(256, 256)
    )

    assert cost.num_macs / 1e9 == pytest.approx(65.71, rel=0.01)
    assert cost.num_parameters / 1e6 == pytest.approx(34.57, rel=0.001)


def test_the_table_has_a_row_for_each_model():
    table = cost_table(
        [ModelCost(name="a/b", num_parameters=11_500_000, num_macs=8_070_000_000)]
    ).splitlines()

    assert [cell.strip() for cell in table[2].split("|")[1:-1]] == ["a/b", "11.50", "8.07"]
