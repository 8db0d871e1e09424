"""One process of a training in small: every step waits for all ranks, rank 0 commits.

Run as `python -m tests.support.consume_ranks SOURCES STATE_FILE LOG_FOLDER OPTIONS` with RANK and
WORLD_SIZE in the environment. SOURCES is a JSON list of roots or [root, weight] pairs; OPTIONS are
those of `build_loader` as JSON, besides num_epochs, step_seconds and commit_every.
"""

import json
import sys
import time
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist

import fmrgb_stream as fs

CLIP = fs.ClipConfig(num_frames=2, frame_stride=1, size=(16, 16), channels="rgb")


def build(sources, **options):
    if len(sources) == 1:
        return fs.build_loader(sources[0], clip=CLIP, seed=3, num_workers=1, **options)
    mixture = [tuple(source) for source in sources]
    return fs.build_loader(sources=mixture, clip=CLIP, seed=3, num_workers=1, **options)


def main(sources, state_file, log_folder, *, num_epochs, step_seconds, commit_every, **options):
    dist.init_process_group("gloo", timeout=timedelta(seconds=30))
    num_steps = 0
    with build(sources, audit_log=log_folder, **options) as loader:
        if state_file.exists():
            loader.load_state_dict(json.loads(state_file.read_text()))
        while loader.epoch < num_epochs:
            for batch in loader:
                # As gradients would be: nobody goes on before all have their batch.
                dist.all_reduce(torch.tensor([len(batch)]))
                num_steps += 1
                if dist.get_rank() == 0 and num_steps % commit_every == 0:
                    commit(state_file, loader.state_dict())
                    sys.stdout.write("committed\n")
                    sys.stdout.flush()
                time.sleep(step_seconds)
    dist.destroy_process_group()


def commit(state_file, state):
    partial = state_file.with_suffix(".partial")
    partial.write_text(json.dumps(state))
    partial.replace(state_file)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), **json.loads(sys.argv[4]))
