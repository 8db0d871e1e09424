"""Two loaders of the same dataset, one of each pipeline, and what must be the same."""

import torch

import fmrgb_stream as fs
from tests.support.clips import assert_clips_close

DALI = {"backend": "dali", "num_workers": 1, "decode": "nvdec"}


def assert_pipelines_agree(root, clip, *, split="train", num_batches=None, **dali_options):
    """Play the same batches through the CPU pipeline and through DALI, and compare them."""
    options = {
        "split": split,
        "batch_size": 4,
        "clip": clip,
        "seed": 3,
        "shuffle": True,
        "tail": "pad",
    }
    with (
        fs.build_loader(root, num_workers=1, worker_kind="thread", **options) as cpu,
        fs.build_loader(root, **options | DALI | dali_options) as dali,
    ):
        pairs = zip(cpu, dali, strict=True)
        for number, (expected, got) in enumerate(pairs):
            assert got.keys == expected.keys
            assert torch.equal(got.sample_ids.cpu(), expected.sample_ids)
            assert torch.equal(got.window_indices.cpu(), expected.window_indices)
            assert torch.equal(got.times_seconds.cpu(), expected.times_seconds)
            assert torch.equal(got.num_valid_frames.cpu(), expected.num_valid_frames)
            assert torch.equal(got.is_padding.cpu(), expected.is_padding)
            assert torch.equal(got.is_substitute.cpu(), expected.is_substitute)
            if expected.labels is not None:
                assert torch.equal(got.labels.cpu(), expected.labels)
            for one_CTHW, other_CTHW in zip(got.clip, expected.clip, strict=True):
                assert_clips_close(one_CTHW.cpu().numpy(), other_CTHW.numpy(), got.channels)
            if number + 1 == num_batches:
                break
