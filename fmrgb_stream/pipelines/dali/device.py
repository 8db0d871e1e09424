"""A failure of DALI -> whether the GPU itself is to blame.

An error like an illegal address ends the process's use of its GPU: everything that comes after it
fails as well, whatever the data. Then no sample may be blamed.
"""

from __future__ import annotations

import torch

from fmrgb_stream.errors import DeviceError


def check_alive(device: str, said: str) -> None:
    """Have the device do something, and wait for it: only after a failure.

    Args:
        device: `cpu` or `cuda:<index>`.
        said: what DALI said.

    Raises:
        DeviceError: it does not answer.
    """
    problem = probe(device)
    if problem:
        raise DeviceError(
            f"{device} cannot be used by this process any more ({problem}); DALI said: {said}. Start "
            "the process again: a checkpoint goes on where it stood. If it comes back, look at "
            "`nvidia-smi -q` and the kernel's log (Xid), set CUDA_LAUNCH_BLOCKING=1 to find the "
            "operation, or try decode='host' or backend='cpu'"
        )


def probe(device: str) -> str:
    """Why nothing can be computed on the device; empty when it can."""
    if device == "cpu" or not torch.cuda.is_available():
        return ""
    try:
        (torch.ones(1, device=device) + 1).item()
    except torch.OutOfMemoryError:
        return ""
    except RuntimeError as error:
        return str(error).strip().partition("\n")[0]
    return ""
