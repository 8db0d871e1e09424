"""Run in two processes by torchrun: loaders through `prepare`, uneven validation, uneven training."""

import json
import sys
from pathlib import Path

import torch

from fmrgb_stream import build_loader
from fmrgb_stream.config import ClipConfig, TrainConfig
from fmrgb_stream.errors import ConfigError
from fmrgb_stream.models import create_model
from fmrgb_stream.training import Loaders, evaluate, train
from fmrgb_stream.training.acceleration import end_processes, make_accelerator
from tests.support.training import ListLoader, make_batch

CLIP = ClipConfig(num_frames=2, size=(16, 16), window="centre")


def prepared_keys(root, accelerator):
    """Keys of this process after the loader went through `accelerator.prepare`."""
    with build_loader(root, split="train", batch_size=5, clip=CLIP, num_workers=1) as loader:
        prepared = accelerator.prepare(loader)
        return [key for batch in prepared for key in batch.keys], len(prepared)


def uneven_evaluation(rank):
    """Three batches in one process, one in the other: the confusion of all clips."""
    torch.manual_seed(0)
    model = create_model("smallcnn", num_classes=3)
    batches = [make_batch(labels=[0, 1, 2], seed=i) for i in range(3 if rank else 1)]
    return evaluate(model, ListLoader(batches), config=TrainConfig()).num_clips


def uneven_training(rank):
    """The error of a training whose processes have different numbers of steps."""
    batches = [make_batch(labels=[0, 1, 2])] * (2 + rank)
    loader = ListLoader(batches)
    try:
        train(
            create_model("smallcnn", num_classes=3),
            Loaders(train=loader, val=loader),
            config=TrainConfig(epochs=1),
        )
    except ConfigError as error:
        return str(error)
    return ""


def main(root, out):
    accelerator = make_accelerator()
    rank = accelerator.process_index
    keys, num_steps = prepared_keys(root, accelerator)
    found = {
        "keys": keys,
        "num_steps": num_steps,
        "num_evaluated": uneven_evaluation(rank),
        "error": uneven_training(rank),
    }
    Path(out, f"rank-{rank}.json").write_text(json.dumps(found))
    end_processes()


if __name__ == "__main__":
    main(*sys.argv[1:])
