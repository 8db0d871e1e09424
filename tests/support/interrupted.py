"""A training loop that Ctrl-C stops, goes on, and closes; prints what it finds left behind.

Run as `python -m tests.support.interrupted ROOT WORKER_KIND`. It prints `ready`, is to get a SIGINT,
then plays a whole epoch with the same loader, and prints one line of JSON.
"""

import json
import os
import sys
import threading

import fmrgb_stream as fs
from tests.support.processes import are_gone, crew_of

CLIP = fs.ClipConfig(num_frames=4, frame_stride=2, size=(32, 32))


def main(root, worker_kind):
    loader = fs.build_loader(
        root, batch_size=3, clip=CLIP, num_workers=2, worker_kind=worker_kind, tail="pad"
    )
    is_told = False
    try:
        while True:
            for _ in loader:
                if not is_told:
                    sys.stdout.write("ready\n")
                    sys.stdout.flush()
                    is_told = True
    except KeyboardInterrupt:
        pass
    loader.set_epoch(50)
    ids = [int(i) for b in loader for i in b.sample_ids[~b.is_padding]]
    pids = list(crew_of(os.getpid()))
    loader.close()
    threads = [t.name for t in threading.enumerate() if t.name.startswith("fmrgb-")]
    found = {"ids": ids, "threads": threads, "processes_are_gone": are_gone(pids)}
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
