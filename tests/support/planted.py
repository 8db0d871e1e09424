"""Packed datasets with something wrong in them: shards written anew with changed records."""

import json
from dataclasses import replace
from pathlib import Path

from fmrgb_stream.shards.index import ShardIndex
from fmrgb_stream.shards.manifest import Manifest
from fmrgb_stream.shards.writer import SampleRecord, ShardWriter
from fmrgb_stream.storage import Store
from tests.support.packed import packed_samples


def rewrite(root: Path, change, *, split: str = "train", shard: int = 0) -> None:
    """Write one shard anew, each record through `change(row, record)`, and make the manifest agree."""
    store = Store(root)
    manifest = Manifest.load(store)
    entry = manifest.splits[split].shards[shard]
    index = ShardIndex.from_parquet(store.read(entry.index_path), url="")
    files = packed_samples(root)
    writer = ShardWriter(root, entry.path)
    for row in range(len(index)):
        record = SampleRecord(info=index[row], files=files[index[row].key].files)
        writer.add(change(row, record))
    fresh = writer.finish(index.metadata)
    shards = list(manifest.splits[split].shards)
    shards[shard] = fresh
    changed = replace(manifest.splits[split], shards=tuple(shards))
    splits = {**manifest.splits, split: changed}
    (root / "manifest.json").write_text(replace(manifest, splits=splits).to_json())


def first_record(**changes):
    """A change for `rewrite`: other fields in the info of the first record of the shard."""

    def change(row, record):
        return record if row else replace(record, info=replace(record.info, **changes))

    return change


def first_file(extension: str, spoil):
    """A change for `rewrite`: `spoil(bytes)` for one member of the first record of the shard."""

    def change(row, record):
        if row:
            return record
        files = {**record.files, extension: spoil(record.files[extension])}
        return replace(record, files=files)

    return change


def put_in(donor: SampleRecord, *, row_to_replace: int = 0):
    """A change for `rewrite`: the media of another record under this one's name and labels."""

    def change(row, record):
        if row != row_to_replace:
            return record
        own = record.info
        info = replace(donor.info, key=own.key, group=own.group, label=own.label, members=())
        noted = {**json.loads(record.files["json"])}
        return SampleRecord(info=info, files={**donor.files, "json": json.dumps(noted).encode()})

    return change


def record_of(root: Path, key: str) -> SampleRecord:
    """One sample of a dataset, ready to be put into another."""
    sample = packed_samples(root)[key]
    return SampleRecord(info=replace(sample.info, members=()), files=sample.files)
