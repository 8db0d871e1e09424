"""A training process in small: takes batches and commits its place after each one.

Run as `python -m tests.support.consume ROOT STATE_FILE [OPTIONS]`, the options of
`build_loader` as JSON; a step takes 50 ms. The state file is replaced atomically and
holds the loader's state together with all ids delivered up to it, as a checkpoint would.
"""

import json
import sys
import time
from pathlib import Path

import fmrgb_stream as fs

CLIP = fs.ClipConfig(num_frames=4, frame_stride=2, size=(32, 32), channels="fmrgb")


def build(root, **options):
    return fs.build_loader(root, split="train", batch_size=2, seed=11, clip=CLIP, **options)


def main(root, state_file, **options):
    committed = {"ids": [], "state": None}
    if state_file.exists():
        committed = json.loads(state_file.read_text())
    with build(root, **options) as loader:
        if committed["state"] is not None:
            loader.load_state_dict(committed["state"])
        for batch in loader:
            committed = {
                "ids": committed["ids"] + batch.sample_ids.tolist(),
                "state": loader.state_dict(),
            }
            partial = state_file.with_suffix(".partial")
            partial.write_text(json.dumps(committed))
            partial.replace(state_file)
            sys.stdout.write("batch\n")
            sys.stdout.flush()
            time.sleep(0.05)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), **json.loads((sys.argv[3:] or ["{}"])[0]))
