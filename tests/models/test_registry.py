import pytest
import timm
import torch

from fmrgb_stream.errors import ConfigError
from fmrgb_stream.models import create_model, list_models
from fmrgb_stream.models.families import FAMILIES, NETWORKS
from fmrgb_stream.models.timm_names import NAMES, timm_name
from fmrgb_stream.shards.manifest import ChannelStats


def test_listed_names_follow_the_pattern():
    assert list_models("frame_pool/resnet1[08]t") == ["frame_pool/resnet10t"]


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_is_listed_with_every_backbone(family):
    backbones = {name.removeprefix(f"{family}/") for name in list_models(f"{family}/*")}

    assert {"resnet18", "convnext_tiny", "vit_small_patch16_224", "smallcnn"} <= backbones
    assert len(backbones) > 500
    assert not any("fmrgb_" in name for name in backbones)


def test_networks_and_their_mixtures_are_listed():
    assert {*NETWORKS, "moe/conv3d", "moe/slowfast_r18"} <= set(list_models())


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("frame_pool/resnt18", "frame_pool/resnet18"),
        ("slowfast_r5", "slowfast_r50"),
        ("cnn/resnet34", "crnn/resnet34"),
        ("crnn/fmrgb_crnn_resnet18", "crnn"),
        ("moe/conv4d", "conv3d"),
        ("moe/moe/conv3d", "mixture"),
        ("resnet18", "family/backbone"),
        ("", "family/backbone"),
    ],
)
def test_an_unknown_name_names_its_nearest_neighbours(name, nearest):
    with pytest.raises(ConfigError, match=nearest):
        create_model(name, num_classes=2)


def test_timms_pretrained_tags_are_taken():
    assert create_model("frame_pool/resnet18.a1_in1k", num_classes=2).num_features == 512


@pytest.mark.parametrize("name", ["frame_pool/test_resnet", "conv3d", "moe/conv3d"])
def test_an_unknown_option_names_those_there_are(name):
    with pytest.raises(ConfigError, match="drop_rate"):
        create_model(name, num_classes=2, drop_rat=0.1)


def test_channels_and_in_chans_must_agree():
    with pytest.raises(ConfigError, match="in_chans=4"):
        create_model("smallcnn", num_classes=2, channels="gray3", in_chans=4)


@pytest.mark.parametrize("num_classes", [0, -1, 2.5])
def test_an_impossible_number_of_classes_is_refused(num_classes):
    with pytest.raises(ConfigError, match="num_classes"):
        create_model("smallcnn", num_classes=num_classes)


@pytest.mark.parametrize("name", ["conv3d", "smallcnn", "crnn/smallcnn", "slowfast_r18"])
def test_pretrained_weights_that_do_not_exist_are_refused(name):
    with pytest.raises(ConfigError, match="no pretrained weights"):
        create_model(name, num_classes=2, pretrained=True)


@pytest.mark.parametrize(
    ("arguments", "num_planes"),
    [
        ({}, 5),
        ({"in_chans": 7}, 7),
        ({"channels": "gray3"}, 3),
        ({"channels": ("flow_u", "flow_v", "mel")}, 3),
    ],
)
def test_the_stem_takes_as_many_planes_as_asked_for(arguments, num_planes):
    model = create_model("smallcnn", num_classes=2, **arguments).eval()
    clip = torch.zeros(1, num_planes, 2, 32, 32, dtype=torch.uint8)

    assert model(clip).shape == (1, 2)


def test_statistics_go_to_planes_by_name():
    stats = {"mel": ChannelStats(mean=0.1, std=0.2), "flow": ChannelStats(mean=0.3, std=0.5)}

    model = create_model(
        "conv3d", num_classes=2, channels=("flow", "green", "mel"), channel_stats=stats
    )

    assert model.stem.mean.tolist() == pytest.approx([0.3, 0.5, 0.1])
    assert model.stem.inverse_std.tolist() == pytest.approx([2, 4, 5])


def test_the_mel_image_is_normalised_by_the_statistics_of_mel():
    stats = {"mel": ChannelStats(mean=0.1, std=0.2)}

    model = create_model(
        "fusion/shared/smallcnn", num_classes=2, channels="rgb", channel_stats=stats
    )

    assert model.sound_stem.mean.tolist() == pytest.approx([0.1])


def test_statistics_without_names_are_refused():
    with pytest.raises(ConfigError, match="channels="):
        create_model(
            "smallcnn",
            num_classes=2,
            in_chans=2,
            channel_stats={"mel": ChannelStats(mean=0.1, std=0.2)},
        )


@pytest.mark.parametrize("name", ["frame_pool/resnet10t", "conv3d"])
def test_timm_builds_the_same_model_by_its_own_name(name):
    torch.manual_seed(0)
    ours = create_model(name, num_classes=4).eval()
    torch.manual_seed(0)
    theirs = timm.create_model(timm_name(name), num_classes=4, in_chans=5).eval()
    clip = torch.randint(0, 256, (1, 5, 2, 32, 32), dtype=torch.uint8)

    torch.testing.assert_close(theirs(clip), ours(clip))


def test_timm_lists_every_registered_name():
    assert set(timm.list_models("fmrgb_*")) == {timm_name(name) for name in NAMES}


@pytest.mark.parametrize(
    "name", ["fmrgb_crnn_resnet18", "fmrgb_slowfast_r50", "fmrgb_fusion_shared_resnet18"]
)
def test_the_common_ones_have_timm_names(name):
    assert timm.is_model(name)
