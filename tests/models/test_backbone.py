import pytest
import timm
import torch
from timm.models import is_model_pretrained

from fmrgb_stream.errors import ConfigError
from fmrgb_stream.models import create_model
from fmrgb_stream.models.backbone import FrameEncoder, ImageBackbone
from fmrgb_stream.models.stem import Plane
from tests.support.models import random_inputs

RGB = tuple(Plane(name=name) for name in ("red", "green", "blue"))
# A convolutional one, a transformer that interpolates its positions, and some that cannot.
NAMES = ("resnet10t", "test_vit", "test_maxvit", "test_vit_relpos", "smallcnn", "test_mambaout")


@pytest.fixture(scope="module")
def weights_file(tmp_path_factory):
    """Pretrained weights of `test_resnet`, as timm takes them from a local file."""
    torch.manual_seed(3)
    file = tmp_path_factory.mktemp("weights") / "test_resnet.pth"
    torch.save(timm.create_model("test_resnet").state_dict(), file)
    return file


def from_file(file):
    return {"pretrained_cfg_overlay": {"file": str(file)}}


@pytest.mark.parametrize("size", [(64, 64), (72, 96)])
@pytest.mark.parametrize("name", NAMES)
def test_any_size_gives_as_many_features_as_the_backbone_says(name, size):
    backbone = ImageBackbone(name, RGB).eval()

    assert backbone(torch.zeros(2, 3, *size)).shape == (2, backbone.num_features)


@pytest.mark.parametrize(
    "name", ["vgg11", "mobilenetv3_small_100", "efficientnet_b0", "levit_128s"]
)
@pytest.mark.slow
def test_backbones_with_a_layer_after_pooling_say_its_width(name):
    test_any_size_gives_as_many_features_as_the_backbone_says(name, (64, 64))


def test_a_picture_of_the_right_size_is_not_resized():
    backbone = ImageBackbone("test_vit_relpos", RGB).eval()
    picture = torch.randn(1, 3, *backbone.resize_to)

    torch.testing.assert_close(backbone(picture), backbone.net(picture))


def test_pretrained_weights_are_timms(weights_file):
    backbone = ImageBackbone("test_resnet", RGB, pretrained=True, options=from_file(weights_file))

    wanted = torch.load(weights_file, weights_only=True)
    got = backbone.net.state_dict()
    assert got
    for name, value in got.items():
        torch.testing.assert_close(value, wanted[name])


def test_pretrained_weights_see_a_gray_clip_as_they_saw_gray_pictures(weights_file):
    planes = tuple(Plane(name=name) for name in ("red", "green", "blue", "flow", "mel"))
    options = from_file(weights_file)
    five = ImageBackbone("test_resnet", planes, pretrained=True, options=options).eval()
    three = ImageBackbone("test_resnet", RGB, pretrained=True, options=options).eval()
    picture = torch.randn(2, 1, 32, 32)

    got, wanted = five(picture.expand(-1, 5, -1, -1)), three(picture.expand(-1, 3, -1, -1))
    torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-4)


def test_a_backbone_without_pretrained_weights_is_named():
    name = next(name for name in timm.list_models("resnet*") if not is_model_pretrained(name))

    with pytest.raises(ConfigError, match=f"{name}.*no pretrained"):
        ImageBackbone(name, RGB, pretrained=True)


def test_pretrained_weights_of_another_shape_are_refused(weights_file):
    options = from_file(weights_file) | {"channels": (8, 8, 8, 8)}

    with pytest.raises(ConfigError, match="test_resnet"):
        ImageBackbone("test_resnet", RGB, pretrained=True, options=options)


FREEZABLE = (
    "crnn",
    "frame_pool",
    "fusion/late",
    "fusion/shared",
    "multichannel",
    "seq2seq",
    "vivit",
)


@pytest.mark.parametrize("family", FREEZABLE)
def test_a_frozen_backbone_keeps_weights_and_batch_statistics_in_training(family):
    model = create_model(f"{family}/test_resnet", num_classes=3, freeze_backbone=True).train()
    backbones = torch.nn.ModuleList(m for m in model.modules() if isinstance(m, ImageBackbone))
    frozen = {id(p) for p in backbones.parameters()}
    before = {k: v.clone() for k, v in backbones.state_dict().items()}

    optimiser = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=1.0)
    model(*random_inputs(model)).square().sum().backward()
    optimiser.step()

    after = backbones.state_dict()
    assert any("running_mean" in name for name in after)
    assert all(torch.equal(after[name], value) for name, value in before.items())
    assert all(p.grad is not None for p in model.parameters() if id(p) not in frozen)


def test_a_trained_backbone_does_not():
    model = create_model("crnn/test_resnet", num_classes=3, lstm_width=8).train()
    before = model.encoder.backbone.net.bn1.running_mean.clone()

    model(torch.randint(0, 256, (2, 5, 3, 32, 32), dtype=torch.uint8))

    assert not torch.equal(model.encoder.backbone.net.bn1.running_mean, before)


def test_frames_come_back_in_order():
    encoder = FrameEncoder("smallcnn", RGB).eval()
    clip = torch.randint(0, 256, (2, 3, 4, 16, 16), dtype=torch.uint8)

    whole = encoder(clip, None)

    for frame in range(4):
        one = encoder(clip[:, :, frame : frame + 1], None)[:, 0]
        torch.testing.assert_close(whole[:, frame], one, rtol=1e-4, atol=1e-5)
