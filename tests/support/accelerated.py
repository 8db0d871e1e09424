"""One process of an Accelerate training that passes its loader to `prepare`.

Run as `python -m tests.support.accelerated ROOT TAIL` with RANK, WORLD_SIZE and the rendezvous in
the environment; prints the samples and steps of this rank as JSON.
"""

import json
import sys

import torch
from accelerate import Accelerator

import fmrgb_stream as fs
from fmrgb_stream.training.acceleration import end_processes

CLIP = fs.ClipConfig(num_frames=2, frame_stride=1, size=(16, 16), channels="rgb")


def main(root, tail):
    accelerator = Accelerator(cpu=True)
    model = torch.nn.Linear(1, 1)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    with fs.build_loader(
        root, batch_size=2, clip=CLIP, tail=tail, num_workers=1, worker_kind="thread"
    ) as loader:
        model, optimiser, prepared = accelerator.prepare(model, optimiser, loader)
        found = {"is_same": prepared is loader, "ids": [], "steps": 0, "padding": 0}
        for _ in range(2):
            for batch in prepared:
                # Gradients of all ranks meet here: a rank with one step more would wait for ever.
                accelerator.backward(model(batch.clip.float().mean().reshape(1, 1)).sum())
                optimiser.step()
                gathered = accelerator.gather(batch.sample_ids)
                assert len(gathered) == 2 * accelerator.num_processes
                found["ids"] += batch.sample_ids[~batch.is_padding].tolist()
                found["padding"] += int(batch.is_padding.sum())
                found["steps"] += 1
    end_processes()
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
