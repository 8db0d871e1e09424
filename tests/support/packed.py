"""Packed datasets -> what tests look at: samples, decoded pictures and sound, bytes on disk."""

import io
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import soundfile

from fmrgb_stream.sample import SampleInfo
from fmrgb_stream.shards.index import ShardIndex
from fmrgb_stream.shards.manifest import Manifest
from fmrgb_stream.storage import Store


@dataclass(frozen=True)
class PackedSample:
    """One sample with its bytes."""

    split: str
    info: SampleInfo
    files: dict[str, bytes]

    def video(self) -> bytes:
        """The video member."""
        (extension,) = set(self.files) - {"flac", "json", "flow.mp4", "matte.mp4"}
        return self.files[extension]

    def pictures(self):
        """uint8 [F, H, W, 3], decoded."""
        with av.open(io.BytesIO(self.video())) as container:
            return np.stack([f.to_ndarray(format="rgb24") for f in container.decode(video=0)])

    def wave(self):
        """float64 [S]."""
        samples, rate = soundfile.read(io.BytesIO(self.files["flac"]))
        assert rate == self.info.audio_sample_rate
        return samples


def packed_samples(root: Path) -> dict[str, PackedSample]:
    """Every sample of a dataset by key."""
    store = Store(root)
    manifest = Manifest.load(store)
    found = {}
    for split, entry in manifest.splits.items():
        for shard in entry.shards:
            tar = store.read(shard.path)
            index = ShardIndex.from_parquet(store.read(shard.index_path), url=shard.index_path)
            for row in range(len(index)):
                info = index[row]
                files = {m.extension: tar[m.offset : m.offset + m.size] for m in info.members}
                assert info.key not in found
                found[info.key] = PackedSample(split, info, files)
    return found


def all_bytes(folder: Path) -> dict[str, bytes]:
    """Content of every file below a folder, by relative path."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
