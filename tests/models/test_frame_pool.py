import pytest
import torch

from fmrgb_stream.errors import ConfigError
from fmrgb_stream.models import create_model
from fmrgb_stream.models.frames import repeat_valid_frames

POOLINGS = ("mean", "attention")


def random_clip(batch_size=2, num_frames=4, size=32, seed=0):
    generator = torch.Generator().manual_seed(seed)
    shape = (batch_size, 5, num_frames, size, size)
    return torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)


def make_model(pooling="mean", *, num_classes=3):
    torch.manual_seed(0)
    model = create_model("frame_pool/test_resnet", num_classes=num_classes, pooling=pooling)
    with torch.no_grad():
        for parameter in model.pool.parameters():
            parameter.normal_()  # attention starts as the plain mean, which would hide its faults
    return model


@pytest.mark.parametrize("pooling", POOLINGS)
def test_any_number_of_frames_and_any_size_fit_one_model(pooling):
    model = make_model(pooling).eval()

    shapes = [model(random_clip(num_frames=t, size=s)).shape for t, s in ((1, 32), (5, 48))]

    assert shapes == [(2, 3), (2, 3)]


@pytest.mark.parametrize("pooling", POOLINGS)
def test_a_batch_mate_never_changes_a_prediction(pooling):
    model = make_model(pooling).eval()
    clip, mate = random_clip(1, seed=1), random_clip(1, seed=2)
    counts = torch.tensor([3, 2])

    together = model(torch.cat([clip, mate]), counts)[0]
    alone = model(clip, counts[:1])[0]

    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("pooling", POOLINGS)
def test_padding_frames_never_count(pooling):
    model = make_model(pooling).eval()
    clip = random_clip(1, num_frames=6)
    padded = clip.clone()
    padded[:, :, 4:] = 0

    torch.testing.assert_close(
        model(padded, torch.tensor([4])), model(clip[:, :, :4]), rtol=1e-5, atol=1e-5
    )


def test_padding_does_not_reach_the_batch_statistics_in_training():
    clip = random_clip(2, num_frames=4)
    padded = torch.cat([clip, torch.zeros_like(clip)], dim=2)
    plain, with_padding = make_model().train(), make_model().train()

    plain(clip)
    with_padding(padded, torch.tensor([4, 4]))

    wanted = dict(plain.named_buffers())
    means = [name for name in wanted if name.endswith("running_mean")]
    got = dict(with_padding.named_buffers())
    assert means
    for name in means:
        torch.testing.assert_close(got[name], wanted[name], rtol=1e-4, atol=1e-5)


def test_mean_pooling_does_not_depend_on_the_order_of_frames():
    model = make_model("mean").eval()
    clip = random_clip()

    torch.testing.assert_close(model(clip.flip(2)), model(clip), rtol=1e-4, atol=1e-5)


def test_attention_weighs_frames_differently():
    clip = random_clip()
    mean, attention = make_model("mean").eval(), make_model("attention").eval()
    attention.load_state_dict(mean.state_dict(), strict=False)

    assert not torch.allclose(attention(clip), mean(clip), atol=1e-4)


def test_padding_is_replaced_by_the_clips_own_frames_in_turn():
    clip = torch.arange(1, 6, dtype=torch.uint8).view(1, 1, 5, 1, 1)

    out = repeat_valid_frames(clip, torch.tensor([2]))

    assert out.flatten().tolist() == [1, 2, 1, 2, 1]


def test_a_clip_without_any_valid_frame_gives_finite_numbers():
    model = make_model("attention").eval()

    assert torch.isfinite(model(random_clip(1), torch.tensor([0]))).all()


def test_every_parameter_gets_a_gradient():
    model = make_model("attention")

    model(random_clip()).square().sum().backward()

    untrained = [name for name, p in model.named_parameters() if p.grad is None]
    assert untrained == []


def test_works_under_autocast():
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = make_model("attention").eval()(random_clip(), torch.tensor([4, 2]))

    assert torch.isfinite(out).all()


def test_an_unknown_pooling_is_refused():
    with pytest.raises(ConfigError, match="attention"):
        create_model("frame_pool/test_resnet", num_classes=2, pooling="max")
