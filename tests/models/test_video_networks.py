"""SlowFast, inflation and torchvision's networks: what each path and kernel sees."""

import pytest
import torch

from fmrgb_stream.errors import ConfigError
from fmrgb_stream.models import create_model
from fmrgb_stream.models.rgb_weights import adapt_rgb_weight
from fmrgb_stream.models.stem import Plane
from tests.support.models import make_model, random_inputs

INFLATED = (
    "i3d/test_resnet",
    "r2plus1d/test_resnet",
    "i3d/test_efficientnet",
    "i3d/smallcnn",
    "i3d/tf_mobilenetv3_small_minimal_100",
)


def slow_and_fast(model, clip):
    """The inputs of the first stage of both paths: [B, C, T, H, W]."""
    planes = model.stem(clip)
    fast = model.fast_stem(planes)
    return model.slow_stem(planes[:, :, :: model.alpha]), model.laterals[0](fast), fast


def test_the_8x8_form_gives_2304_features():
    """2048 + 256, as in the extractor of Slow-Fast features that S2 used."""
    with torch.device("meta"):
        model = create_model("slowfast_r50", num_classes=3)

    assert model.num_features == 2048 + 256


def test_the_slow_path_sees_every_fourth_frame_and_the_fast_one_all():
    model = make_model("slowfast_r18").eval()
    clip, _ = random_inputs(model, num_frames=32)

    slow, lateral, fast = slow_and_fast(model, clip)

    assert (slow.shape[2], lateral.shape[2], fast.shape[2]) == (8, 8, 32)
    assert slow.shape[1] == 8 * fast.shape[1]
    assert lateral.shape[1] == 2 * fast.shape[1]


@pytest.mark.parametrize("num_frames", [1, 2, 4, 5, 7, 9])
def test_both_paths_meet_whatever_the_number_of_frames(num_frames):
    model = make_model("slowfast_r18").eval()
    clip, _ = random_inputs(model, num_frames=num_frames)

    slow, lateral, _ = slow_and_fast(model, clip)

    assert slow.shape[2:] == lateral.shape[2:]


def test_a_lateral_connection_is_centred_on_the_slow_paths_frames():
    """Slow frame 1 stands at 4: three frames to either side reach it, a fourth does not."""
    lateral = make_model("slowfast_r18").eval().laterals[0]
    with torch.no_grad():
        lateral[0].weight.fill_(1.0)
    reach = []
    for frame in range(16):
        fast = torch.zeros(1, 2, 16, 1, 1)
        fast[:, :, frame] = 1.0
        reach.append(bool(lateral(fast)[0, 0, 1] > 0))

    assert [frame for frame in range(16) if reach[frame]] == [1, 2, 3, 4, 5, 6, 7]


def test_the_fast_path_reaches_the_slow_paths_features():
    model = make_model("slowfast_r18").double().eval()
    clip, _ = random_inputs(model, num_frames=8)
    other = clip.clone()
    other[:, :, 1] = 255 - other[:, :, 1]  # not among the slow path's frames 0 and 4
    num_slow = model.slow_stages[-1].num_features

    difference = (model.embed(other) - model.embed(clip))[:, :num_slow]

    assert difference.abs().max() > 1e-9


@pytest.mark.parametrize("name", INFLATED)
def test_a_still_clip_gives_what_the_image_network_gives(name):
    backbone = name.partition("/")[2]
    image_model = make_model(f"frame_pool/{backbone}").eval()
    inflated = make_model(name).eval()
    inflated.head.load_state_dict(image_model.head.state_dict())
    picture = random_inputs(image_model, num_frames=1)[0]

    got, wanted = inflated(picture.expand(-1, -1, 5, -1, -1)), image_model(picture)
    torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", INFLATED)
def test_a_trained_inflated_network_sees_motion(name):
    model = make_model(name).double().eval()
    with torch.no_grad():
        for parameter in model.encoder.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    clip, _ = random_inputs(model)

    assert (model(clip.flip(2)) - model(clip)).abs().max() > 1e-9


def test_a_frame_is_seen_as_far_as_the_time_kernels_reach():
    """One layer of kernel 3: features of frame 3 depend on frames 2 to 4."""
    model = make_model("i3d/smallcnn", backbone_options={"widths": (8,)}).double().eval()
    clip, counts = random_inputs(model, num_frames=7)
    model.time.num_frames = 7
    wanted = model.encoder(clip, counts)[:, 3]
    seen = []
    for frame in range(7):
        other = clip.clone()
        other[:, :, frame] = 255 - other[:, :, frame]
        seen.append(not torch.equal(model.encoder(other, counts)[:, 3], wanted))

    assert [frame for frame in range(7) if seen[frame]] == [2, 3, 4]


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("i3d/test_vit", {}, "no spatial convolution"),
        ("i3d/test_nfnet", {}, "ScaledStdConv"),
        ("i3d/test_resnet", {"time_kernel": 2}, "time_kernel=2"),
    ],
)
def test_what_cannot_be_inflated_is_refused(name, options, message):
    with pytest.raises(ConfigError, match=message):
        create_model(name, num_classes=2, **options)


def test_torchvisions_networks_read_as_many_planes_as_there_are():
    with torch.device("meta"):
        model = create_model("r3d_18", num_classes=2, channels=("gray", "mel"))

    assert model.net.stem[0].weight.shape == (64, 2, 3, 7, 7)
    rgb = torch.randn(64, 3, 3, 7, 7)
    planes = [Plane(name="gray"), Plane(name="mel")]
    assert adapt_rgb_weight(rgb, planes).shape == model.net.stem[0].weight.shape
