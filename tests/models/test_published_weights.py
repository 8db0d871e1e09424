"""Weights that others trained, from local files of the form in which they are published."""

from pathlib import Path

import pytest
import torch
from torchvision.models import get_model, get_model_weights

from fmrgb_stream.errors import ConfigError
from fmrgb_stream.models import create_model
from fmrgb_stream.models.slowfast import SlowFast
from fmrgb_stream.models.stem import Plane

RGB = tuple(Plane(name=name) for name in ("red", "green", "blue"))
FMRGB = (*RGB, Plane(name="flow"), Plane(name="mel"))
SMALL = {"depths": (2, 1, 1, 1), "width": 16, "num_outputs": 4}
TENSORS_OF_NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


def published_state(model):
    """The model's weights under PyTorchVideo's names, in the order of its modules."""
    state = {"blocks.6.proj.weight": torch.zeros(400, 9), "blocks.6.proj.bias": torch.zeros(400)}

    def put(conv_norm, conv_name, norm_name):
        conv, norm = conv_norm[0], conv_norm[1]
        state[f"{conv_name}.weight"] = conv.weight
        state.update({f"{norm_name}.{key}": getattr(norm, key) for key in TENSORS_OF_NORM})

    for path, (stem, stages) in enumerate(
        [(model.slow_stem, model.slow_stages), (model.fast_stem, model.fast_stages)]
    ):
        name = f"blocks.0.multipathway_blocks.{path}"
        put(stem[0], f"{name}.conv", f"{name}.norm")
        for stage, blocks in enumerate(stages):
            for number, block in enumerate(blocks):
                name = f"blocks.{stage + 1}.multipathway_blocks.{path}.res_blocks.{number}"
                if number == 0:
                    put(block.shortcut, f"{name}.branch1_conv", f"{name}.branch1_norm")
                for letter, part in zip("abc", block.branch, strict=True):
                    put(part, f"{name}.branch2.conv_{letter}", f"{name}.branch2.norm_{letter}")
    for stage, lateral in enumerate(model.laterals):
        name = f"blocks.{stage}.multipathway_fusion"
        put(lateral, f"{name}.conv_fast_to_slow", f"{name}.norm")
    return state


@pytest.fixture
def trained():
    torch.manual_seed(0)
    model = SlowFast(planes=RGB, **SMALL)
    model.train()(torch.randint(0, 256, (2, 3, 8, 32, 32), dtype=torch.uint8))
    return model.eval()


@pytest.fixture
def file(trained, tmp_path):
    path = tmp_path / "SLOWFAST.pyth"
    torch.save({"model_state": published_state(trained), "epoch": 196}, path)
    return path


def test_published_slowfast_gives_its_features(trained, file):
    loaded = SlowFast(planes=RGB, published_weights=file, **SMALL).eval()
    clip = torch.randint(0, 256, (2, 3, 8, 32, 32), dtype=torch.uint8)

    torch.testing.assert_close(loaded.embed(clip), trained.embed(clip))


def test_published_slowfast_sees_five_gray_planes_as_it_saw_three(trained, file):
    loaded = SlowFast(planes=FMRGB, published_weights=file, **SMALL).eval()
    gray = torch.randint(0, 256, (2, 1, 8, 32, 32), dtype=torch.uint8)

    got = loaded.embed(gray.expand(-1, 5, -1, -1, -1))
    torch.testing.assert_close(
        got, trained.embed(gray.expand(-1, 3, -1, -1, -1)), rtol=1e-4, atol=1e-5
    )


def test_weights_of_another_depth_are_refused(file):
    with pytest.raises(ConfigError, match="same depth"):
        SlowFast(planes=RGB, published_weights=file, **(SMALL | {"depths": (3, 1, 1, 1)}))


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"none\.pyth"):
        create_model("slowfast_r18", num_classes=2, published_weights=tmp_path / "none.pyth")


def test_torchvisions_weights_see_a_gray_clip_as_they_saw_gray_videos(tmp_path, monkeypatch):
    """torchvision looks for its files in this folder before it downloads."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    torch.manual_seed(0)
    published = get_model("mc3_18").eval()
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    url = get_model_weights("mc3_18").DEFAULT.url
    torch.save(published.state_dict(), folder / Path(url).name)

    model = create_model("mc3_18", num_classes=2, pretrained=True).eval()
    published.fc = torch.nn.Identity()
    gray = torch.randn(1, 1, 3, 24, 24)

    got = model.net(gray.expand(-1, 5, -1, -1, -1))
    wanted = published(gray.expand(-1, 3, -1, -1, -1))
    torch.testing.assert_close(got, wanted, rtol=1e-3, atol=1e-4)
