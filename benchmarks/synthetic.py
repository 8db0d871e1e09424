"""Sample counts -> a dataset of that size on disk: real shards where files are read, links where not.

One shard of generated samples is written for real; further shards are links to it, and beyond
`_NUM_FILES` the manifest names the same links again. So ten million samples need as much disk as
one shard, while manifest, plan, sidecars and open files are those of a dataset of that size. What
it does not show is the disk: all bytes come from the page cache.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from benchmarks.generated import AUDIO_RATE, VideoShape, generated_samples
from fmrgb_stream.sample import EncodedSample
from fmrgb_stream.shards import (
    Manifest,
    ShardEntry,
    SplitEntry,
)
from fmrgb_stream.shards.index import ShardIndex
from fmrgb_stream.shards.writer import SampleRecord, ShardWriter, write_atomic

_NUM_FILES: Final = 4096
"""Links at most; more shards than a training has open or unpacked at one time."""


def write_dataset(
    root: Path,
    *,
    num_samples: int,
    samples_per_shard: int = 256,
    num_distinct: int = 4,
    shape: VideoShape | None = None,
    damaged_rows: Sequence[int] = (),
) -> Path:
    """Write a dataset with one split, `train`; returns its root.

    `samples_per_shard` is that of `fmrgb pack`. The samples at `damaged_rows` of every shard have
    a flipped byte in the video, which their checksums betray.
    """
    samples = generated_samples(num_distinct, shape=shape)
    num_whole, rest = divmod(num_samples, samples_per_shard)
    shards: list[ShardEntry] = []
    if num_whole:
        entry = _write_shard(root, "train/shard-000000.tar", samples, samples_per_shard)
        _damage(root, entry, damaged_rows)
        shards = [_linked(root, entry, place) for place in range(num_whole)]
    if rest:
        entry = _write_shard(root, "train/shard-rest.tar", samples, rest)
        _damage(root, entry, [row for row in damaged_rows if row < rest])
        shards.append(entry)
    manifest = Manifest(
        pack_config={"audio_sample_rate": AUDIO_RATE},
        classes=("generated",),
        target_names=(),
        splits={
            "train": SplitEntry(
                shards=tuple(shards),
                duration_seconds=num_samples * samples[0].info.duration_seconds,
                num_groups=len(samples),
            )
        },
        channel_stats={},
    )
    write_atomic(root / "manifest.json", manifest.to_json().encode())
    return root


def _write_shard(
    root: Path, path: str, samples: Sequence[EncodedSample], num_samples: int
) -> ShardEntry:
    writer = ShardWriter(root, path)
    for row in range(num_samples):
        sample = samples[row % len(samples)]
        if sample.video is None or sample.audio is None:
            raise AssertionError("generated samples have picture and sound")
        files = {"mp4": bytes(sample.video), "flac": bytes(sample.audio)}
        writer.add(SampleRecord(info=replace(sample.info, key=f"{row:06d}"), files=files))
    return writer.finish({})


def _linked(root: Path, entry: ShardEntry, place: int) -> ShardEntry:
    """The entry of shard `place`, a link to the real one."""
    number = place % _NUM_FILES
    path = root / f"train/shard-{number:06d}.tar"
    if place == number and place > 0:
        real = root / entry.path
        path.symlink_to(real.name)
        path.with_suffix(".parquet").symlink_to(real.with_suffix(".parquet").name)
    # Real shards differ; and equal strings would let the manifest look smaller than it is.
    sha256 = hashlib.sha256(str(place).encode()).hexdigest()
    return replace(entry, path=path.relative_to(root).as_posix(), sha256=sha256)


def _damage(root: Path, entry: ShardEntry, rows: Sequence[int]) -> None:
    sidecar = root / entry.index_path
    index = ShardIndex.from_parquet(sidecar.read_bytes(), url=str(sidecar))
    with (root / entry.path).open("r+b") as tar:
        for row in rows:
            video = index[row].member("mp4")
            if video is None:
                raise AssertionError("generated samples have a video")
            tar.seek(video.offset + video.size // 2)
            byte = tar.read(1)[0]
            tar.seek(-1, 1)
            tar.write(bytes([byte ^ 0xFF]))
