"""The dataset that the storage benchmark serves is one that a cache accepts."""

import hashlib

from benchmarks import storage
from benchmarks.generated import VideoShape
from benchmarks.synthetic import write_dataset
from fmrgb_stream.shards import Manifest
from fmrgb_stream.storage import Store


def test_links_have_the_checksum_of_what_they_point_to(tmp_path, monkeypatch):
    def write_small(root, *, num_samples):
        shape = VideoShape(width=32, height=32, num_frames=4)
        return write_dataset(root, num_samples=num_samples, samples_per_shard=2, shape=shape)

    monkeypatch.setattr(storage, "write_dataset", write_small)
    num_bytes = storage.write_true_dataset(tmp_path, 6)
    shards = Manifest.load(Store(tmp_path)).split("train").shards
    contents = [(tmp_path / shard.path).read_bytes() for shard in shards]
    assert [hashlib.sha256(content).hexdigest() for content in contents] == [
        shard.sha256 for shard in shards
    ]
    assert num_bytes == sum(map(len, contents))
