import numpy as np
import pytest
import torch

from fmrgb_stream.errors import ConfigError
from fmrgb_stream.models.rgb_weights import adapt_rgb_weight, load_rgb_weights
from fmrgb_stream.models.stem import Plane


def planes(*names):
    return [Plane(name=name) for name in names]


RGB = np.random.default_rng(0).normal(size=(4, 3, 2, 2))


def adapted(*names):
    return adapt_rgb_weight(torch.tensor(RGB), planes(*names)).numpy()


def test_colours_keep_their_filters_and_the_others_get_the_mean():
    got = adapted("red", "green", "blue", "flow", "mel")

    mean = RGB.mean(axis=1)
    wanted = np.stack([RGB[:, 0], RGB[:, 1], RGB[:, 2], mean, mean], axis=1) * 3 / 5
    np.testing.assert_allclose(got, wanted)


def test_colours_keep_their_filters_in_any_order():
    got = adapted("mel", "blue", "red")

    np.testing.assert_allclose(got, np.stack([RGB.mean(axis=1), RGB[:, 2], RGB[:, 0]], axis=1))


def test_rgb_stays_as_it_is():
    np.testing.assert_array_equal(adapted("red", "green", "blue"), RGB)


def test_gray_gets_the_sum_of_the_filters():
    np.testing.assert_allclose(adapted("gray"), RGB.sum(axis=1, keepdims=True))


@pytest.mark.parametrize(
    ("num_planes", "wanted"),
    [
        (2, [RGB.mean(axis=1), RGB.mean(axis=1)]),
        (4, [RGB[:, 0], RGB[:, 1], RGB[:, 2], RGB.mean(axis=1)]),
    ],
)
def test_planes_without_names_are_red_green_blue_and_others_if_there_are_three(num_planes, wanted):
    got = adapted(*[""] * num_planes)

    np.testing.assert_allclose(got, np.stack(wanted, axis=1) * 3 / num_planes)


def test_gray_pictures_in_every_plane_give_what_the_rgb_network_gives():
    picture = torch.tensor(np.random.default_rng(1).normal(size=(1, 1, 5, 5)))
    weight = adapt_rgb_weight(torch.tensor(RGB), planes("red", "green", "blue", "flow", "mel"))

    wanted = torch.nn.functional.conv2d(picture.expand(-1, 3, -1, -1), torch.tensor(RGB))
    got = torch.nn.functional.conv2d(picture.expand(-1, 5, -1, -1), weight)

    torch.testing.assert_close(got, wanted)


def test_kernels_over_time_are_adapted_too():
    weight = torch.randn(2, 3, 3, 7, 7)

    assert adapt_rgb_weight(weight, planes("gray", "mel")).shape == (2, 2, 3, 7, 7)


def test_a_stem_that_moves_pixels_into_channels_keeps_its_pixel_groups():
    groups = np.random.default_rng(2).normal(size=(1, 4, 3, 1, 1))
    weight = torch.tensor(groups.reshape(1, 12, 1, 1))

    got = adapt_rgb_weight(weight, planes("gray"))

    np.testing.assert_allclose(got.flatten(), groups.sum(axis=2).ravel())


def test_a_layer_that_does_not_fit_is_named():
    ours, theirs = torch.nn.Linear(7, 2), torch.nn.Linear(6, 2)

    with pytest.raises(ConfigError, match="'weight'"):
        load_rgb_weights(ours, theirs.state_dict(), planes("red"))
