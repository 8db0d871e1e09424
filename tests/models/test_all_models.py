"""What holds for every model of the package."""

import pytest
import torch

from fmrgb_stream.models.families import FAMILIES, NETWORKS
from tests.support.models import CASES, LARGE, make_model, random_inputs

SOUND_ONLY = ("fusion/late/smallcnn", "mlp")
TOLERANCE = 1e-12
SHAPES = ((3, (32, 32)), (6, (40, 24)))
ALL = [*CASES, *(pytest.param(name, marks=pytest.mark.slow) for name in LARGE)]


def forward_twice_and_backward(name, num_channels):
    model = make_model(name, in_chans=num_channels).train()
    outputs = []
    for num_frames, size in SHAPES:
        inputs = random_inputs(model, num_channels=num_channels, num_frames=num_frames, size=size)
        outputs.append(model(*inputs))
    torch.cat(outputs).square().sum().backward()
    return model, outputs


def test_every_family_and_network_has_a_case():
    covered = {name.removeprefix("moe/") for name in (*CASES, *LARGE)}
    families = {name.rpartition("/")[0] for name in covered}
    other_sizes = {
        "slowfast_r101",
        "vivit_tiny_patch16",
        "vivit_small_patch16",
        "vivit_base_patch16",
    }

    assert set(FAMILIES) - families == {"multichannel", "seq2seq"}  # as networks
    assert set(NETWORKS) - covered == other_sizes


@pytest.mark.parametrize("num_channels", [1, 2, 3, 5])
@pytest.mark.parametrize("name", ALL)
def test_trains_at_two_shapes_and_any_number_of_channels(name, num_channels):
    model, outputs = forward_twice_and_backward(name, num_channels)

    gradients = {key: p.grad for key, p in model.named_parameters()}
    assert [output.shape for output in outputs] == [(2, 3), (2, 3)]
    assert [key for key, grad in gradients.items() if grad is None] == []
    assert all(torch.isfinite(grad).all() for grad in gradients.values())


@pytest.mark.parametrize("name", ALL)
def test_a_batch_mate_never_changes_a_prediction(name):
    model = exact_model(name)
    inputs = exact_inputs(model, batch_size=3)
    inputs[1][:] = torch.tensor([3, 4, 2])

    together = model(*inputs)
    alone = [model(*(part[i : i + 1] for part in inputs)) for i in range(3)]

    assert_same(torch.cat(alone), together)


@pytest.mark.parametrize("name", ALL)
def test_what_stands_in_padding_frames_never_counts(name):
    model = exact_model(name)
    clip, _, *extras = exact_inputs(model)
    counts, other = torch.tensor([2, 3]), clip.clone()
    other[0, :, 2:] = 7
    other[1, :, 3:] = 99

    assert_same(model(other, counts, *extras), model(clip, counts, *extras))


@pytest.mark.parametrize("name", [name for name in CASES if name not in SOUND_ONLY])
def test_a_frame_that_counts_makes_a_difference(name):
    """Far more of one than the two tests above let pass."""
    model = exact_model(name)
    clip, counts, *extras = exact_inputs(model)
    other = clip.clone()
    other[:, :, 2] = 255 - other[:, :, 2]

    difference = model(other, counts, *extras) - model(clip, counts, *extras)

    assert difference.abs().amax(1).min() > 1000 * TOLERANCE


@pytest.mark.parametrize("name", SOUND_ONLY)
def test_the_sound_makes_a_difference(name):
    model = exact_model(name)
    clip, counts, *extras = exact_inputs(model)

    difference = model(clip, counts, *(part.flip(0) for part in extras)) - model(
        clip, counts, *extras
    )

    assert difference.abs().amax(1).min() > 1000 * TOLERANCE


@pytest.mark.parametrize("name", CASES)
def test_the_embedding_is_as_wide_as_it_says(name):
    model = make_model(name).eval()

    assert model.embed(*random_inputs(model)).shape == (2, model.num_features)


@pytest.mark.parametrize("name", CASES)
def test_a_single_frame_is_enough(name):
    model = make_model(name).eval()

    assert torch.isfinite(model(*random_inputs(model, num_frames=1, size=(40, 40)))).all()


@pytest.mark.parametrize("name", CASES)
def test_works_under_autocast(name):
    model = make_model(name).eval()

    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = model(*random_inputs(model))

    assert torch.isfinite(out).all()


@pytest.mark.parametrize("name", CASES)
def test_weights_go_to_a_fresh_model_and_give_its_predictions(name):
    trained, fresh = make_model(name, seed=1), make_model(name, seed=2)
    fill_statistics(trained)

    fresh.load_state_dict(trained.state_dict())

    inputs = random_inputs(trained)
    torch.testing.assert_close(fresh.eval()(*inputs), trained(*inputs))


def fill_statistics(model):
    """One pass in training, so that batch statistics are not those of a fresh model."""
    with torch.no_grad():
        model.train()(*random_inputs(model, batch_size=4, seed=5))
    model.eval()


def exact_model(name):
    """Of 64 bits, so that rounding hides nothing."""
    model = make_model(name)
    fill_statistics(model)
    return model.double()


def exact_inputs(model, **options):
    parts = random_inputs(model, **options)
    return tuple(part.double() if part.is_floating_point() else part for part in parts)


def assert_same(got, wanted):
    torch.testing.assert_close(got, wanted, rtol=0, atol=TOLERANCE)
