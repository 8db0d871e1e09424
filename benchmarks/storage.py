"""Is a bucket as fast as a disk? Clips a second over loopback S3, against the same files read locally.

Run: python -m benchmarks.storage [--samples 2048] [--rounds 3] [--quick]

nginx (from the PATH or /usr/sbin) serves the files as an S3 endpoint without signatures. Each
contestant plays one epoch of a loader of its own, from `build_loader` to the last batch: `disk`, `ranges`
(no cache, one request a sample) and `cold cache` (an empty cache_dir, so that every shard is downloaded,
hashed and flushed first). Rounds are interleaved. All bytes come from the page cache, so that the way
is measured and not the disk.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Generator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final

from benchmarks.bars import Bar, Table, argument_parser, conclude
from benchmarks.synthetic import write_dataset
from benchmarks.throughput.process_tree import tree_cpu_seconds
from benchmarks.timing import interleaved_ms
from fmrgb_stream.loader import build_loader
from fmrgb_stream.shards import Manifest
from fmrgb_stream.shards.writer import write_atomic
from fmrgb_stream.storage import Store

BATCH_SIZE: Final = 16
MIN_SHARE: Final = 0.9
"""Of the local disk's clips a second."""
_CONFIG: Final = """
daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/error.log; {user}
events {{ worker_connections 256; }}
http {{
    access_log off; sendfile on; keepalive_requests 1000000; client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    server {{ listen 127.0.0.1:{port}; root {root}; }}
}}
"""
# With tcp_nopush, small ranges would wait 40 ms each.


def play(root: str, cpu_ms: list[float], *, cache: Path | None = None) -> int:
    """One epoch of a new loader; the number of clips. Adds its CPU milliseconds a clip."""
    if cache is not None:
        shutil.rmtree(cache, ignore_errors=True)
    num_clips, before = 0, tree_cpu_seconds(os.getpid())
    with build_loader(root, batch_size=BATCH_SIZE, cache_dir=cache) as loader:
        for batch in loader:
            num_clips += len(batch)
    cpu_ms.append((tree_cpu_seconds(os.getpid()) - before) * 1e3 / num_clips)
    return num_clips


@contextlib.contextmanager
def served(root: Path, folder: Path) -> Generator[str]:
    """The address of an nginx that serves what lies below `root`.

    Raises:
        FileNotFoundError: it is not installed.
    """
    program = _nginx()
    if program is None:
        raise FileNotFoundError("nginx is not installed (package nginx-light)")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    config = folder / "nginx.conf"
    # Started by root, its worker would be a user who may not read our folders.
    user = "user root;" if folder.owner() == "root" else ""
    config.write_text(_CONFIG.format(folder=folder, port=port, root=root, user=user))
    process = subprocess.Popen([program, "-p", str(folder), "-c", str(config)])
    try:
        endpoint = f"http://127.0.0.1:{port}"
        _wait_for(endpoint)
        yield endpoint
    finally:
        process.terminate()
        process.wait()


def _nginx() -> str | None:
    return shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")


def _wait_for(endpoint: str) -> None:
    for _ in range(100):
        try:
            urllib.request.urlopen(endpoint, timeout=5).close()
        except urllib.error.HTTPError:
            return  # it answers
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise TimeoutError(f"{endpoint} does not answer")


def write_true_dataset(root: Path, num_samples: int) -> int:
    """A dataset whose manifest has the links' true checksums, as a cache compares them; its bytes."""
    write_dataset(root, num_samples=num_samples)
    manifest = Manifest.load(Store(root))
    train = manifest.split("train")
    hashes: dict[Path, str] = {}
    for path in {(root / shard.path).resolve() for shard in train.shards}:
        hashes[path] = hashlib.sha256(path.read_bytes()).hexdigest()
    shards = [replace(s, sha256=hashes[(root / s.path).resolve()]) for s in train.shards]
    true = replace(manifest, splits={"train": replace(train, shards=tuple(shards))})
    write_atomic(root / "manifest.json", true.to_json().encode())
    return true.num_bytes


def main() -> int:
    """Compare; 1 when ranges or the cold cache miss the share."""
    parser = argument_parser(__doc__)
    parser.add_argument("--samples", type=int, default=None, help="2048, or 256 with --quick")
    parser.add_argument("--rounds", type=int, default=None, help="3, or 1 with --quick")
    arguments = parser.parse_args()
    num_samples: int = arguments.samples or (256 if arguments.quick else 2048)
    rounds: int = arguments.rounds or (1 if arguments.quick else 3)
    if _nginx() is None:
        parser.error("nginx is not installed (package nginx-light)")
    with tempfile.TemporaryDirectory(prefix="fmrgb-storage-") as name:
        folder = Path(name)
        root = folder / "served" / "bucket" / "data"
        num_bytes = write_true_dataset(root, num_samples)
        with served(folder / "served", folder) as endpoint:
            url = f"s3://bucket/data?endpoint={endpoint}&anonymous=true"
            cpu_ms: dict[str, list[float]] = {"disk": [], "ranges": [], "cold cache": []}
            contestants = {
                "disk": partial(play, str(root), cpu_ms["disk"]),
                "ranges": partial(play, url, cpu_ms["ranges"]),
                "cold cache": partial(play, url, cpu_ms["cold cache"], cache=folder / "cache"),
            }
            spent = interleaved_ms(contestants, rounds=rounds)
    speeds = {place: [1000 / ms for ms in times] for place, times in spent.items()}
    table = Table(
        title=f"{num_samples} samples, {num_bytes / 1e6:.0f} MB, one epoch each, {rounds} rounds",
        rows=[
            {
                "from": place,
                "clips/s": statistics.median(found),
                "worst": min(found),
                "best": max(found),
                "CPU ms a clip, server's too": statistics.median(cpu_ms[place][1:]),
            }
            for place, found in speeds.items()
        ],
    )
    bars = [
        Bar(
            name=f"{place}, share of the disk's clips/s",
            value=statistics.median(
                mine / local for mine, local in zip(speeds[place], speeds["disk"], strict=True)
            ),
            limit=MIN_SHARE,
            direction="at least",
        )
        for place in ("ranges", "cold cache")
    ]
    return conclude("Is a bucket as fast as a disk?", [table], bars, arguments.json)


if __name__ == "__main__":
    sys.exit(main())
