"""Arrays of a batch travel to a device together and arrive as they were."""

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from fmrgb_stream.pipelines.staging import to_device

ARRAYS = {
    "flags": np.array([[True, False, True]]),
    "times": np.array([[0.0, 0.25], [1.5, -3.0]]),
    "ids": np.array([7, 2**40], np.int64),
    "nothing": np.zeros((0, 3), np.float32),
    "weights": np.arange(5, dtype=np.float32).reshape(5, 1)[::-1],
}


class Copies(TorchDispatchMode):
    """Notes every copy from the host to another device."""

    def __init__(self):
        super().__init__()
        self.sizes = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        sources = [x for x in args if isinstance(x, torch.Tensor) and x.device.type == "cpu"]
        if sources and isinstance(out, torch.Tensor) and out.device.type != "cpu":
            self.sizes.append(out.nbytes)
        return out


def test_on_the_cpu_nothing_is_copied():
    there = to_device(ARRAYS, "cpu")
    assert np.shares_memory(there["times"].numpy(), ARRAYS["times"])
    assert np.array_equal(there["weights"].numpy(), ARRAYS["weights"])


def test_all_arrays_travel_in_one_copy():
    with Copies() as copies:
        there = to_device(ARRAYS, "meta")
    assert len(copies.sizes) == 1
    for name, tensor in there.items():
        assert tensor.shape == ARRAYS[name].shape
        assert tensor.dtype == torch.from_numpy(ARRAYS[name].copy()).dtype


def test_what_is_laid_side_by_side_comes_out_again(monkeypatch):
    # The way of a GPU, on a device that this machine has.
    monkeypatch.setattr(torch.Tensor, "to", lambda self, *_, **__: self)
    for name, tensor in to_device(ARRAYS, "meta").items():
        assert np.array_equal(tensor.numpy(), ARRAYS[name]), name
