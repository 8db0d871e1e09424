"""Bytes -> samples: manifest, index, plan, reader, writer."""

from fmrgb_stream.shards.index import ShardIndex
from fmrgb_stream.shards.items import ItemTable, SampleTable
from fmrgb_stream.shards.manifest import Manifest, ShardEntry, SplitEntry
from fmrgb_stream.shards.plan import EpochPlan
from fmrgb_stream.shards.reader import ShardReader, open_sample
from fmrgb_stream.shards.tasks import RankTasks
from fmrgb_stream.shards.writer import SampleRecord, ShardWriter

__all__ = [
    "EpochPlan",
    "ItemTable",
    "Manifest",
    "RankTasks",
    "SampleRecord",
    "SampleTable",
    "ShardEntry",
    "ShardIndex",
    "ShardReader",
    "ShardWriter",
    "SplitEntry",
    "open_sample",
]
