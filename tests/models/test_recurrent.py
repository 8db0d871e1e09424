"""CRNN, ConvLSTM, multichannel, seq2seq and ViViT: time has an order, planes have a place."""

import numpy as np
import pytest
import torch

from fmrgb_stream.models import create_model
from fmrgb_stream.models.convlstm import ConvLSTMCell
from fmrgb_stream.models.frames import last_valid, middle_frame, time_positions
from tests.support.models import make_model, random_inputs

IN_ORDER = ("convlstm", "crnn/test_resnet", "multichannel", "seq2seq", "vivit/test_resnet")


def exact(name, **options):
    return make_model(name, **options).double().eval()


@pytest.mark.parametrize("name", IN_ORDER)
def test_the_order_of_frames_matters(name):
    model = exact(name)
    clip, counts = random_inputs(model)

    assert (model(clip.flip(2), counts) - model(clip, counts)).abs().max() > 1e-9


@pytest.mark.parametrize("name", IN_ORDER)
def test_padding_gives_what_the_shorter_clip_gives(name):
    model = exact(name)
    clip, counts = random_inputs(model, num_frames=6)

    padded, short = model(clip, counts - 2), model(clip[:, :, :4])
    torch.testing.assert_close(padded, short, rtol=0, atol=1e-12)


def test_the_crnn_is_as_wide_as_its_source():
    model = create_model("crnn/resnet18", num_classes=3)

    linear = [m for m in model.embedding.modules() if isinstance(m, torch.nn.Linear)]
    assert [layer.out_features for layer in linear] == [1024, 768, 512]
    assert (model.lstm.num_layers, model.lstm.hidden_size) == (3, 512)
    assert [m.out_features for m in model.head if isinstance(m, torch.nn.Linear)] == [256, 3]


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def test_a_convolutional_cell_does_what_its_formula_says():
    """On one pixel a 3 x 3 kernel is its middle, so two steps can be written down."""
    torch.manual_seed(0)
    cell = ConvLSTMCell(1, 1).double()
    frames = torch.tensor([0.7, -1.3], dtype=torch.float64).view(1, 2, 1, 1, 1)
    weight = cell.gates.weight.detach().numpy()[:, :, 1, 1]

    hidden = memory = 0.0
    for frame in (0.7, -1.3):
        i, f, o, g = weight @ np.array([frame, hidden]) + np.array([0.0, 1.0, 0.0, 0.0])
        memory = sigmoid(f) * memory + sigmoid(i) * np.tanh(g)
        hidden = sigmoid(o) * np.tanh(memory)

    assert cell(frames)[0, 1].item() == pytest.approx(hidden, abs=1e-12)


def test_a_convlstm_keeps_no_more_places_than_patches():
    model = exact("convlstm", patch_size=8)

    assert model.patches(torch.zeros(1, 5, 20, 9, dtype=torch.float64)).shape[2:] == (3, 2)


def test_a_shared_encoder_has_the_weights_of_one():
    def num_weights(**options):
        model = make_model("multichannel", **options)
        return sum(p.numel() for p in model.encoder.parameters())

    assert num_weights() == 5 * num_weights(is_shared=True)
    assert num_weights(is_shared=True) == num_weights(in_chans=1)


@pytest.mark.parametrize("name", ["multichannel", "seq2seq"])
@pytest.mark.parametrize("is_shared", [False, True])
def test_every_plane_counts(name, is_shared):
    model = exact(name, is_shared=is_shared)
    clip, counts = random_inputs(model)
    wanted = model(clip, counts)

    for plane in range(5):
        other = clip.clone()
        other[:, plane] = 255 - other[:, plane]
        assert (model(other, counts) - wanted).abs().max() > 1e-9


@pytest.mark.parametrize("name", ["multichannel", "seq2seq"])
def test_other_planes_are_seen_at_other_times(name):
    """The frames of plane 1 in another order give another result although plane 0 stays."""
    model = exact(name)
    clip, counts = random_inputs(model)
    other = clip.clone()
    other[:, 1] = other[:, 1].flip(1)

    assert (model(other, counts) - model(clip, counts)).abs().max() > 1e-9


def test_positions_differ_from_frame_to_frame():
    positions = time_positions(50, 7, like=torch.zeros(()))

    distances = torch.cdist(positions, positions) + 10 * torch.eye(50)
    assert positions.shape == (50, 7)
    assert distances.min() > 0.05


def test_the_last_valid_frame_is_that_of_each_clip():
    features = torch.arange(6.0).view(2, 3, 1)
    mask = torch.tensor([[True, False, False], [True, True, True]])

    assert last_valid(features, mask).flatten().tolist() == [0.0, 5.0]


def test_the_middle_frame_is_that_of_the_frames_that_count():
    clip = torch.arange(5, dtype=torch.uint8).view(1, 1, 5, 1, 1).repeat(3, 1, 1, 1, 1)

    assert middle_frame(clip, torch.tensor([5, 2, 0])).flatten().tolist() == [2, 1, 0]
    assert middle_frame(clip, None).flatten().tolist() == [2, 2, 2]
