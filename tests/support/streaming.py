"""What every object store has to bear: the same steps against each server."""

import threading
import time

import pytest

import fmrgb_stream as fs
from fmrgb_stream.cli.main import main
from fmrgb_stream.errors import AccessDenied
from tests.support.consume import CLIP

NUM_CLIPS = 13


def fmrgb(*words):
    return main([str(word) for word in words])


def pack_words(source, destination, staging):
    return (
        "pack", source, destination, "--staging", staging, "--short-side", 64, "--num-workers", 1,
        "--samples-per-shard", 5, "--gop-frames", 4,
    )  # fmt: skip


def delivered(root, *, epochs=1, **options):
    """Sample ids of some epochs, without padding."""
    options = {"batch_size": 2, "tail": "pad", "clip": CLIP, "num_workers": 2} | options
    with fs.build_loader(root, **options) as loader:
        return [sample for _ in range(epochs) for sample in ids_of(loader)]


def ids_of(loader):
    ids = []
    for batch in loader:
        padding = batch.is_padding.tolist()
        ids += [
            i for i, is_pad in zip(batch.sample_ids.tolist(), padding, strict=True) if not is_pad
        ]
        assert not batch.is_substitute.any()
    return ids


def check_epoch(root):
    assert sorted(delivered(root)) == list(range(NUM_CLIPS))


def check_wrong_secret(root, monkeypatch, variable, value):
    monkeypatch.setenv(variable, value)
    with pytest.raises(AccessDenied, match="credentials"):
        fs.build_loader(root, clip=CLIP)


def check_pause(server, root, seconds=5.0):
    """The server is stopped in the middle of the epoch and goes on after some seconds."""
    with fs.build_loader(root, batch_size=2, tail="pad", clip=CLIP, num_workers=1) as loader:
        batches = iter(loader)
        first = next(batches)
        server.stop()
        wake = threading.Timer(seconds, server.go_on)
        wake.start()
        started = time.monotonic()
        rest = ids_of(batches)
        lasted = time.monotonic() - started
        wake.join()
    assert sorted(first.sample_ids.tolist() + rest) == list(range(NUM_CLIPS))
    assert lasted >= seconds - 0.5
