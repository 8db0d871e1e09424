import dataclasses

import pytest
import torch

from fmrgb_stream.errors import ConfigError
from fmrgb_stream.models import create_model, model_inputs
from tests.support.models import make_model, random_inputs
from tests.support.training import make_batch

JOINS = ("late", "height", "channel")


def shared(modality="both", **options):
    return make_model("fusion/shared/smallcnn", modality=modality, **options).double().eval()


def differ(got, wanted):
    return (got - wanted).abs().max().item() > 1e-9


@pytest.mark.parametrize("num_experts", [2, 5])
def test_the_gate_is_as_wide_as_there_are_experts_and_its_weights_sum_to_one(num_experts):
    model = make_model("moe/smallcnn", num_experts=num_experts).eval()

    weights = model.gate_weights(*random_inputs(model))

    assert weights.shape == (2, num_experts)
    assert len(model.experts) == num_experts
    torch.testing.assert_close(weights.sum(1), torch.ones(2))


def test_a_mixture_is_the_weighted_mean_of_its_experts():
    model = make_model("moe/conv3d", num_experts=3).eval()
    inputs = random_inputs(model)

    weights = model.gate_weights(*inputs)
    wanted = sum(weights[:, i, None] * expert(*inputs) for i, expert in enumerate(model.experts))

    torch.testing.assert_close(model(*inputs), wanted)


def test_experts_do_not_start_alike():
    model = make_model("moe/smallcnn", num_experts=2).eval()
    inputs = random_inputs(model)

    assert differ(model.experts[0](*inputs), model.experts[1](*inputs))


@pytest.mark.parametrize("num_experts", [1, 0, 2.5])
def test_too_few_experts_are_refused(num_experts):
    with pytest.raises(ConfigError, match="num_experts"):
        create_model("moe/smallcnn", num_classes=2, num_experts=num_experts)


@pytest.mark.parametrize("join", JOINS)
def test_a_picture_model_does_not_hear(join):
    model = shared("picture", join=join)
    clip, counts, sound = random_inputs(model)

    assert not differ(model(clip, counts, 255 - sound), model(clip, counts, sound))
    assert not differ(model(clip, counts), model(clip, counts, sound))
    assert differ(model(255 - clip, counts), model(clip, counts))


@pytest.mark.parametrize("join", JOINS)
def test_a_sound_model_does_not_see(join):
    model = shared("sound", join=join)
    clip, counts, sound = random_inputs(model)

    assert not differ(model(255 - clip, counts, sound), model(clip, counts, sound))
    assert differ(model(clip, counts, 255 - sound), model(clip, counts, sound))


@pytest.mark.parametrize("join", JOINS)
@pytest.mark.parametrize("frames", ["middle", "all"])
def test_both_are_read_together(join, frames):
    model = shared(join=join, frames=frames)
    clip, counts, sound = random_inputs(model)
    wanted = model(clip, counts, sound)

    assert differ(model(255 - clip, counts, sound), wanted)
    assert differ(model(clip, counts, 255 - sound), wanted)


@pytest.mark.parametrize(("frames", "seen"), [("middle", [2]), ("all", [0, 1, 2, 3])])
def test_the_middle_frame_or_all_of_them_are_read(frames, seen):
    model = shared("picture", frames=frames)
    clip, _, _ = random_inputs(model, num_frames=6)
    counts = torch.tensor([4, 4])
    wanted = model(clip, counts)

    found = []
    for frame in range(6):
        other = clip.clone()
        other[:, :, frame] = 255 - other[:, :, frame]
        if differ(model(other, counts), wanted):
            found.append(frame)

    assert found == seen


@pytest.mark.parametrize("join", JOINS)
def test_weights_trained_on_one_go_to_the_other(join):
    """The cross experiment: train on pictures, evaluate on sound."""
    picture, sound = shared("picture", join=join), shared("sound", join=join)

    sound.load_state_dict(picture.state_dict())

    inputs = random_inputs(picture)
    picture.modality = "sound"
    torch.testing.assert_close(picture(*inputs), sound(*inputs))


def test_late_joining_is_the_mean_of_both_embeddings():
    model = shared(join="late")
    inputs = random_inputs(model)
    parts = []
    for modality in ("picture", "sound", "both"):
        model.modality = modality
        parts.append(model.embed(*inputs))

    torch.testing.assert_close(parts[2], (parts[0] + parts[1]) / 2)


@pytest.mark.parametrize(
    ("name", "extra"),
    [
        ("fusion/shared/smallcnn", "mel_image"),
        ("fusion/late/smallcnn", "audio_features"),
        ("mlp", "audio_features"),
    ],
)
def test_sound_that_is_missing_is_named_with_the_cure(name, extra):
    model = make_model(name).eval()
    clip, counts, *_ = random_inputs(model)

    with pytest.raises(ConfigError, match=rf"extras=.*{extra}"):
        model(clip, counts)


@pytest.mark.parametrize("option", ["modality", "join", "frames"])
def test_an_unknown_choice_is_refused(option):
    with pytest.raises(ConfigError, match=option):
        create_model("fusion/shared/smallcnn", num_classes=2, **{option: "nothing"})


@pytest.mark.parametrize("position", [2, 3])
def test_late_fusion_reads_image_and_features(position):
    model = make_model("fusion/late/smallcnn").double().eval()
    inputs = [part.double() for part in random_inputs(model)]
    other = list(inputs)
    other[position] = other[position].flip(0)

    assert differ(model(*other), model(*inputs))


def test_sound_features_of_any_scale_are_standardised_by_what_training_saw():
    model = make_model("mlp").train()
    random = torch.Generator().manual_seed(0)
    scales = torch.logspace(-2, 4, 26)
    batches = [(3 + torch.randn(16, 26, generator=random)) * scales for _ in range(4)]

    for batch in batches:
        model(torch.empty(0), None, batch)

    scaler = model.layers[0]
    everything = torch.cat(batches)
    torch.testing.assert_close(scaler.running_mean, everything.mean(0), rtol=1e-4, atol=0)
    torch.testing.assert_close(scaler.running_var, everything.var(0), rtol=0.2, atol=0)


def test_a_batch_gives_what_the_model_asks_for():
    batch = dataclasses.replace(
        make_batch(labels=[0, 1]), audio_features=torch.arange(52.0).view(2, 26)
    )
    model = make_model("mlp")

    clip, counts, features = model_inputs(batch, model.batch_fields, device="cpu")

    assert clip is batch.clip
    assert counts.tolist() == [3, 3]
    assert features is batch.audio_features


def test_what_the_batch_lacks_is_named_with_the_cure():
    batch = make_batch(labels=[0])

    with pytest.raises(ConfigError, match=r"extras=\('mel_image',\)"):
        model_inputs(batch, ("clip", "num_valid_frames", "mel_image"), device="cpu")
