import numpy as np
import pytest
import torch

from fmrgb_stream.models.stem import ClipStem, Plane
from fmrgb_stream.shards.manifest import ChannelStats


def random_clip(num_channels, seed=0):
    random = np.random.default_rng(seed)
    return random.integers(0, 256, size=(2, num_channels, 3, 4, 5), dtype=np.uint8)


def test_uint8_is_scaled_and_normalised_by_each_planes_own_statistics():
    stats = [ChannelStats(mean=0.2, std=0.5), ChannelStats(mean=0.7, std=0.1)]
    clip = random_clip(2)

    out = ClipStem(stats)(torch.from_numpy(clip)).numpy()

    for plane, (mean, std) in enumerate([(0.2, 0.5), (0.7, 0.1)]):
        wanted = (clip[:, plane] / 255 - mean) / std
        np.testing.assert_allclose(out[:, plane], wanted, rtol=1e-5, atol=1e-5)


def test_float_clips_are_taken_as_already_scaled():
    clip = torch.from_numpy(random_clip(1))
    stem = ClipStem([Plane()])

    torch.testing.assert_close(stem(clip), stem(clip.float() / 255))


def test_unknown_statistics_put_the_range_between_minus_two_and_two():
    ends = torch.tensor([0, 255], dtype=torch.uint8).view(1, 1, 2, 1, 1)

    assert ClipStem([Plane()])(ends).flatten().tolist() == [-2.0, 2.0]


def test_a_plane_that_was_constant_in_training_stays_finite():
    clip = torch.full((1, 1, 1, 2, 2), 255, dtype=torch.uint8)

    out = ClipStem([ChannelStats(mean=0.0, std=0.0)])(clip)

    assert out.max().item() == pytest.approx(255.0)


def test_under_autocast_the_planes_have_its_dtype():
    clip = torch.from_numpy(random_clip(2))

    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = ClipStem([Plane()] * 2)(clip)

    assert out.dtype == torch.bfloat16


def test_statistics_travel_with_the_checkpoint():
    trained = ClipStem([ChannelStats(mean=0.3, std=0.2)])
    fresh = ClipStem([Plane()])

    fresh.load_state_dict(trained.state_dict())

    clip = torch.from_numpy(random_clip(1))
    torch.testing.assert_close(fresh(clip), trained(clip))
