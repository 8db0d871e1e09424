"""A packed dataset -> a copy whose shards hold damaged members, with checksums right or wrong."""

import hashlib
from dataclasses import replace
from pathlib import Path

from fmrgb_stream.shards import Manifest
from fmrgb_stream.shards.index import ShardIndex, index_to_parquet
from fmrgb_stream.shards.writer import SampleRecord, ShardWriter
from fmrgb_stream.storage import Store


def zeroed_packets(content, info):
    """The file with nothing left in its packets."""
    video = bytearray(content)
    for offset, size in zip(info.packets.offsets, info.packets.sizes, strict=True):
        video[offset : offset + size] = bytes(size)
    return bytes(video)


VIDEO_DAMAGE = {
    "empty": lambda _content, _info: b"",
    "garbage": lambda _content, _info: b"garbage!" * 200,
    "truncated": lambda content, _info: content[: len(content) // 4],
    "zeroed packets": zeroed_packets,
}


def damaged_copy(root, target, damage, *, split="train", has_right_checksums=True):
    """Write the split anew; returns its root.

    Args:
        root: A packed dataset.
        target: Where the copy goes.
        damage: By sample id a function of (files, info) that returns (files, info).
        split: Which split; the others are left out.
        has_right_checksums: Whether the index knows the damaged bytes' checksums. Otherwise it has
            those of the good ones, as after damage to a disk.
    """
    store, target = Store(root), Path(target)
    manifest = Manifest.load(store)
    entry, shards, sample_id = manifest.split(split), [], 0
    for shard in entry.shards:
        tar = store.read(shard.path)
        index = ShardIndex.from_parquet(store.read(shard.index_path), url=shard.index_path)
        writer, good = ShardWriter(target, shard.path), []
        for row in range(len(index)):
            info = index[row]
            good.append(info)
            files = {m.extension: tar[m.offset : m.offset + m.size] for m in info.members}
            if sample_id in damage:
                files, info = damage[sample_id](files, info)
            writer.add(SampleRecord(info=info, files=files))
            sample_id += 1
        written = writer.finish({})
        if not has_right_checksums:
            written = _with_checksums_of(good, target, written)
        shards.append(written)
    splits = {split: replace(entry, shards=tuple(shards))}
    (target / "manifest.json").write_text(replace(manifest, splits=splits).to_json())
    return target


def damage_video(change):
    """`change` of (content, info) on the video member."""

    def damage(files, info):
        return files | {"mp4": change(files["mp4"], info)}, info

    return damage


def damage_sound(change):
    """`change` of the FLAC member."""

    def damage(files, info):
        return files | {"flac": change(files["flac"])}, info

    return damage


def change_info(**changes):
    """Another index row for the same bytes."""

    def damage(files, info):
        return files, replace(info, **changes)

    return damage


def _with_checksums_of(good, target, written):
    path = target / written.index_path
    index = ShardIndex.from_parquet(path.read_bytes(), url=str(path))
    infos = []
    for row, before in enumerate(good):
        members = tuple(
            replace(member, crc32c=before.member(member.extension).crc32c)
            for member in index[row].members
        )
        infos.append(replace(index[row], members=members))
    sidecar = index_to_parquet(infos, metadata=index.metadata)
    path.write_bytes(sidecar)
    return replace(written, index_sha256=hashlib.sha256(sidecar).hexdigest())
