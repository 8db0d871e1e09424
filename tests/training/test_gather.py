import sys
from pathlib import Path

import pytest
import torch
from torch import multiprocessing

from fmrgb_stream.training.losses import softrank_loss

NUM_PROCESSES = 2
NUM_CLIPS = 6


def make_problem():
    torch.manual_seed(0)
    model = torch.nn.Linear(3, 2)
    return model, torch.randn(NUM_CLIPS, 3), torch.randn(NUM_CLIPS, 2)


def one_rank(rank, folder):
    """Run in a process of its own: the gradient of a loss that ranks all processes' clips."""
    import os

    from accelerate import Accelerator

    from fmrgb_stream.training.gather import gather_with_gradient

    os.environ |= {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(NUM_PROCESSES),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": (Path(folder) / "port").read_text(),
        "ACCELERATE_USE_CPU": "true",
    }
    accelerator = Accelerator(cpu=True)
    model, inputs, targets = make_problem()
    own = slice(rank * NUM_CLIPS // NUM_PROCESSES, (rank + 1) * NUM_CLIPS // NUM_PROCESSES)
    prepared = accelerator.prepare(model)
    outputs, truth = gather_with_gradient(accelerator, prepared(inputs[own]), targets[own])
    accelerator.backward(softrank_loss(outputs, truth))
    torch.save(model.weight.grad, Path(folder) / f"rank-{rank}.pt")
    accelerator.end_training()


def test_one_process_ranks_its_own_batch():
    from accelerate import Accelerator

    from fmrgb_stream.training.gather import gather_with_gradient

    outputs, truth = torch.zeros(2, 1), torch.ones(2, 1)

    assert gather_with_gradient(Accelerator(), outputs, truth) == (outputs, truth)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="gloo over TCP")
def test_two_processes_get_the_gradient_of_one_with_all_clips(tmp_path):
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        (tmp_path / "port").write_text(str(probe.getsockname()[1]))
    model, inputs, targets = make_problem()
    softrank_loss(model(inputs), targets).backward()

    multiprocessing.spawn(one_rank, args=(str(tmp_path),), nprocs=NUM_PROCESSES)

    for rank in range(NUM_PROCESSES):
        gradient = torch.load(tmp_path / f"rank-{rank}.pt", weights_only=True)
        torch.testing.assert_close(gradient, model.weight.grad)
