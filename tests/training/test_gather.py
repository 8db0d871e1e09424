import sys
from pathlib import Path

import pytest
import torch
from torch import multiprocessing

from fmrgb_stream.training.losses import cross_entropy_loss, mse_loss, softrank_loss

NUM_PROCESSES = 2
NUM_CLIPS = 6
# Name -> loss, truth, which clips count, whether clips are compared with each other.
LABELS = torch.tensor([0, 1, 1, 0, 1, 1])
TARGETS = torch.randn(NUM_CLIPS, 2, generator=torch.Generator().manual_seed(1))
ALL = torch.ones(NUM_CLIPS, dtype=torch.bool)
UNEVEN = torch.tensor([True, True, True, False, False, True])
ONE_SIDED = torch.tensor([True, True, False, False, False, False])
CASES = {
    "ranking": (softrank_loss, TARGETS, ALL, True),
    "ranking with padding": (softrank_loss, TARGETS, UNEVEN, True),
    "classes": (cross_entropy_loss, LABELS, ALL, False),
    "classes with padding": (cross_entropy_loss, LABELS, UNEVEN, False),
    "targets, and padding alone in one process": (mse_loss, TARGETS, ONE_SIDED, False),
}


def make_problem():
    torch.manual_seed(0)
    return torch.nn.Linear(3, 2), torch.randn(NUM_CLIPS, 3)


def one_rank(rank, folder):
    """Run in a process of its own: value and gradient of every case on its half of the clips."""
    import os

    from accelerate import Accelerator

    from fmrgb_stream.training.acceleration import end_processes
    from fmrgb_stream.training.gather import loss_and_weight, step_scale

    os.environ |= {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(NUM_PROCESSES),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": (Path(folder) / "port").read_text(),
        "ACCELERATE_USE_CPU": "true",
    }
    accelerator = Accelerator(cpu=True)
    own = slice(rank * NUM_CLIPS // NUM_PROCESSES, (rank + 1) * NUM_CLIPS // NUM_PROCESSES)
    found = {}
    for name, (loss, truth, counts, ranks_clips) in CASES.items():
        model, inputs = make_problem()
        prepared = accelerator.prepare(model)  # gradients meet only while this object lives
        value, weight = loss_and_weight(
            accelerator,
            loss,
            prepared(inputs[own]),
            truth[own],
            counts_B=counts[own],
            ranks_clips=ranks_clips,
        )
        accelerator.backward(value * weight)
        scale = step_scale(accelerator, weight)
        mean = accelerator.reduce((value * weight * scale).detach(), reduction="mean")
        found[name] = {"value": mean, "gradient": model.weight.grad * scale}
    torch.save(found, Path(folder) / f"rank-{rank}.pt")
    end_processes()


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.skipif(sys.platform == "win32", reason="gloo over TCP")
def test_two_processes_get_value_and_gradient_of_one_with_all_clips(tmp_path):
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        (tmp_path / "port").write_text(str(probe.getsockname()[1]))

    multiprocessing.spawn(one_rank, args=(str(tmp_path),), nprocs=NUM_PROCESSES)

    for name, (loss, truth, counts, _) in CASES.items():
        model, inputs = make_problem()
        wanted = loss(model(inputs), truth, counts)
        wanted.backward()
        for rank in range(NUM_PROCESSES):
            found = torch.load(tmp_path / f"rank-{rank}.pt", weights_only=True)[name]
            torch.testing.assert_close(found["value"], wanted.detach())
            torch.testing.assert_close(found["gradient"], model.weight.grad)
