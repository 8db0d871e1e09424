"""One process of several that share the epochs of a dataset; started by `ranks.py`.

Reads RANK, WORLD_SIZE and the like as a training does. Prints `ready`, plays one epoch for each
line on stdin, and prints what it did as one line of JSON. After the line `count` it decodes in
threads, so that all reads pass through this process; after others as the loader chooses.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from benchmarks.scaling.counted import CountedStore
from benchmarks.scaling.cpu import cpu_seconds
from fmrgb_stream.clips.dataset import open_dataset
from fmrgb_stream.config import ClipConfig, LoaderConfig
from fmrgb_stream.distributed import WorldInfo
from fmrgb_stream.loader import ClipLoader


def main(root: Path, batch_size: int) -> None:
    """Play epochs until stdin ends; a new loader for each, so that nothing is read already."""
    world = WorldInfo.from_environment()
    print("ready", flush=True)
    for epoch, line in enumerate(sys.stdin):
        config = LoaderConfig(
            batch_size=batch_size,
            tail="pad",
            worker_kind="thread" if line.strip() == "count" else "auto",
        )
        store, start = CountedStore(root), cpu_seconds()
        ids: list[int] = []
        num_steps = 0
        clip = ClipConfig()
        dataset = open_dataset([store], None, split="train", clip=clip, config=config)
        loader = ClipLoader(dataset, split="train", clip=clip, config=config, world=world)
        with loader:
            loader.set_epoch(epoch)
            for batch in loader:
                num_steps += 1
                ids += batch.sample_ids[~batch.is_padding].tolist()
        done = {
            "num_steps": num_steps,
            "sample_ids": ids,
            "num_bytes": store.num_bytes,
            "num_shard_bytes": store.num_shard_bytes,
            "cpu_seconds": cpu_seconds() - start,
        }
        print(json.dumps(done), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
