"""Every family and network at a size that a test can afford, and clips to feed them."""

from __future__ import annotations

import torch

from fmrgb_stream.models import create_model

TINY_VIT = {"embed_dim": 64, "depth": 2, "num_heads": 2}
TINY_CNN = {"widths": (8, 16)}
SMALL = {"backbone_options": TINY_CNN}

# Name -> options that make it small; each name is one that a user may write.
CASES = {
    "conv3d": {"widths": (8, 16)},
    "convlstm": {"hidden_chans": (8, 8)},
    "crnn/test_resnet": {
        "hidden_widths": (32,),
        "embedding_width": 32,
        "lstm_width": 32,
        "head_width": 32,
    },
    "frame_pool/test_efficientnet": {},
    "frame_pool/test_vit": {"pooling": "attention"},
    "fusion/late/smallcnn": SMALL,
    "fusion/shared/smallcnn": SMALL | {"join": "late"},
    "i3d/test_resnet": {},
    "mlp": {"widths": (32, 16)},
    "moe/convlstm": {"hidden_chans": (8,), "num_experts": 3},
    "moe/fusion/shared/smallcnn": SMALL | {"num_experts": 2},
    "multichannel": SMALL | {"width": 16},
    "r2plus1d/test_resnet": {},
    "seq2seq": SMALL | {"width": 16},
    "slowfast_r18": {"width": 16, "depths": (1, 1, 1, 1)},
    "slowfast_r50": {"width": 8, "depths": (1, 1, 1, 1)},
    "smallcnn": SMALL,
    "vivit/test_resnet": {"time_depth": 1},
    "vivit_tiny_patch4": {"backbone_options": {"patch_size": 8} | TINY_VIT, "time_depth": 1},
}
# Those that cannot be made small.
LARGE = ("mc3_18", "r2plus1d_18", "r3d_18", "swin3d_t")


def make_model(name, *, seed=0, num_classes=3, **options):
    torch.manual_seed(seed)
    return create_model(name, num_classes=num_classes, **(CASES.get(name, {}) | options))


def random_inputs(model, *, batch_size=2, num_channels=5, num_frames=4, size=(32, 32), seed=0):
    """What the model takes, all frames valid, in the order of its `batch_fields`."""
    generator = torch.Generator().manual_seed(seed)

    def picture(*shape):
        return torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)

    made = {
        "clip": picture(batch_size, num_channels, num_frames, *size),
        "num_valid_frames": torch.full((batch_size,), num_frames),
        "mel_image": picture(batch_size, 1, 24, size[1]),
        "audio_features": torch.randn(batch_size, 26, generator=generator) * 100,
    }
    return tuple(made[field] for field in model.batch_fields)


def eight_clips(model, *, num_frames=3, size=(32, 32)):
    """Inputs of eight clips that differ at a glance, and sound that tells them apart too."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(8, 5, num_frames, 2, 2, generator=generator) * 255
    clip = torch.nn.functional.interpolate(coarse, (num_frames, *size), mode="trilinear").byte()
    image = torch.nn.functional.interpolate(coarse[:, 0], size, mode="bilinear")[:, :1].byte()
    made = {
        "clip": clip,
        "num_valid_frames": torch.full((8,), num_frames),
        "mel_image": image,
        "audio_features": torch.randn(8, 26, generator=generator) * 100,
    }
    return tuple(made[field] for field in model.batch_fields)
