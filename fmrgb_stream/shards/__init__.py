"""Bytes -> samples: manifest, index, plan, reader, writer.

`index` and `writer`, which load Arrow, are imported by name: a trainer's process does without.
"""

from fmrgb_stream.shards.cursor import EpochCursor
from fmrgb_stream.shards.items import ItemTable, SampleTable
from fmrgb_stream.shards.lookup import FoundSample, find_sample, open_dataset, open_sample
from fmrgb_stream.shards.manifest import Manifest, ShardEntry, SplitEntry
from fmrgb_stream.shards.plan import EpochPlan
from fmrgb_stream.shards.reader import ShardReader
from fmrgb_stream.shards.tasks import RankTasks

__all__ = [
    "EpochCursor",
    "EpochPlan",
    "FoundSample",
    "ItemTable",
    "Manifest",
    "RankTasks",
    "SampleTable",
    "ShardEntry",
    "ShardReader",
    "SplitEntry",
    "find_sample",
    "open_dataset",
    "open_sample",
]
