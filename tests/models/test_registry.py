import pytest
import timm
import torch

from fmrgb_stream.errors import ConfigError
from fmrgb_stream.models import create_model, list_models
from fmrgb_stream.models.timm_names import BACKBONES
from fmrgb_stream.shards.manifest import ChannelStats


def test_listed_names_follow_the_pattern():
    assert list_models("frame_pool/resnet1[08]t") == ["frame_pool/resnet10t"]


def test_every_listed_name_is_family_and_backbone():
    names = list_models()

    assert len(names) > 500
    assert {name.partition("/")[0] for name in names} == {"frame_pool"}
    assert not any("fmrgb_" in name for name in names)


def test_an_unknown_backbone_names_its_nearest_neighbours():
    with pytest.raises(ConfigError, match="frame_pool/resnet18"):
        create_model("frame_pool/resnt18", num_classes=2)


def test_an_unknown_family_names_those_there_are():
    with pytest.raises(ConfigError, match="frame_pool"):
        create_model("frame_pol/resnet18", num_classes=2)


def test_a_model_of_this_package_is_no_backbone():
    with pytest.raises(ConfigError, match="no model"):
        create_model("frame_pool/fmrgb_frame_pool_resnet18", num_classes=2)


def test_an_unknown_option_names_those_there_are():
    with pytest.raises(ConfigError, match="pooling"):
        create_model("frame_pool/test_resnet", num_classes=2, poling="mean")


def test_channels_and_in_chans_must_agree():
    with pytest.raises(ConfigError, match="in_chans=4"):
        create_model("frame_pool/test_resnet", num_classes=2, channels="gray3", in_chans=4)


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
    model = create_model("frame_pool/test_resnet", num_classes=2, **arguments).eval()
    clip = torch.zeros(1, num_planes, 2, 32, 32, dtype=torch.uint8)

    assert model(clip).shape == (1, 2)


def test_statistics_go_to_planes_by_name():
    stats = {"mel": ChannelStats(mean=0.1, std=0.2), "flow": ChannelStats(mean=0.3, std=0.5)}

    model = create_model(
        "frame_pool/test_resnet", num_classes=2, channels=("flow", "mel"), channel_stats=stats
    )

    assert model.stem.mean.tolist() == pytest.approx([0.3, 0.1])


def test_statistics_without_names_are_refused():
    with pytest.raises(ConfigError, match="channels="):
        create_model(
            "frame_pool/test_resnet",
            num_classes=2,
            in_chans=2,
            channel_stats={"mel": ChannelStats(mean=0.1, std=0.2)},
        )


def test_timm_builds_the_same_model_by_its_own_name():
    torch.manual_seed(0)
    ours = create_model("frame_pool/resnet10t", num_classes=4).eval()
    torch.manual_seed(0)
    theirs = timm.create_model("fmrgb_frame_pool_resnet10t", num_classes=4, in_chans=5).eval()
    clip = torch.randint(0, 256, (1, 5, 2, 32, 32), dtype=torch.uint8)

    torch.testing.assert_close(theirs(clip), ours(clip))


def test_timm_lists_every_registered_name():
    assert timm.list_models("fmrgb_frame_pool_*") == [f"fmrgb_frame_pool_{b}" for b in BACKBONES]
