"""Dataset roots and weights -> what a loader walks through: sources of clips and their order."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import cast

from fmrgb_stream.clips.source import MixedSource, SampleSource
from fmrgb_stream.clips.windows import split_items
from fmrgb_stream.config import ClipConfig, LoaderConfig, check_positive
from fmrgb_stream.errors import ConfigError
from fmrgb_stream.shards import Manifest, ShardReader
from fmrgb_stream.shards.audit_log import SourceInfo
from fmrgb_stream.shards.manifest import ChannelStats
from fmrgb_stream.shards.mixture import share_out
from fmrgb_stream.shards.order import DatasetOrder, MixtureOrder
from fmrgb_stream.shards.plan import source_seed
from fmrgb_stream.shards.position import order_fingerprint
from fmrgb_stream.storage import Store
from fmrgb_stream.storage.urls import parse_location

Root = str | os.PathLike[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenDataset:
    """One dataset or a mixture, opened."""

    manifest: Manifest
    """Of a mixture: the labels that all agree on, the mixture's channel statistics, no splits."""
    sources: tuple[SourceInfo, ...]
    readers: tuple[ShardReader, ...]
    order: DatasetOrder | MixtureOrder
    clips: SampleSource | MixedSource
    is_remote: bool
    """Whether any of it lies on another machine."""
    mean_sample_bytes: int
    """Of an encoded sample, as it lies in its shard."""
    fingerprint: str
    """Of the order: changes with data, weights, and every setting that changes the order."""

    @property
    def is_mixture(self) -> bool:
        """Whether epochs follow on from each other, in the middle of passes."""
        return isinstance(self.order, MixtureOrder)

    @property
    def num_samples(self) -> int:
        """Samples of all sources."""
        return sum(source.num_samples for source in self.sources)


def list_sources(
    root: Root | None, sources: Sequence[Root | tuple[Root, float]] | None
) -> tuple[list[Root], list[float | None] | None]:
    """Roots, and the weights of a mixture: None for one dataset, Nones where none are given.

    Raises:
        ConfigError: both or neither are given, weights for some of them only, one that is no
            positive number, or a root twice.
    """
    if (root is None) == (sources is None):
        raise ConfigError(
            "give either a root, or sources=[(root, weight), ...] to mix several datasets"
        )
    if root is not None:
        return [root], None
    given: object = sources
    if not isinstance(given, Sequence) or isinstance(given, str | bytes):
        raise ConfigError(
            f"sources is a {type(given).__name__}; give a list: [(root, weight), ...] or [root, ...]"
        )
    listed = [
        _source(source, place) for place, source in enumerate(cast("Sequence[object]", given))
    ]
    if not listed:
        raise ConfigError("sources=[] names no dataset; give [(root, weight), ...]")
    if len({weight is None for _, weight in listed}) > 1:
        raise ConfigError(
            "some sources have a weight and others have none; give all of them one, or none of "
            "them, which takes every clip once an epoch"
        )
    if len({str(source) for source, _ in listed}) < len(listed):
        shown = [parse_location(source).shown for source, _ in listed]
        raise ConfigError(f"a source stands twice in {shown}; add its weights up")
    for source, weight in listed:
        check_positive(f"weight of {parse_location(source).shown!r}", weight)
    return [source for source, _ in listed], [weight for _, weight in listed]


def _source(given: object, place: int) -> tuple[Root, float | None]:
    """Root and weight of one of `sources`, as a user or a YAML file wrote it."""
    weight: object = None
    if isinstance(given, tuple | list):
        pair = cast("Sequence[object]", given)
        given, weight = pair if len(pair) == 2 else (None, None)
    is_number = isinstance(weight, int | float) and not isinstance(weight, bool)
    if not isinstance(given, str | os.PathLike) or not (weight is None or is_number):
        # Its values are not shown: a root may hold a password.
        raise ConfigError(
            f"sources[{place}] must be a root, or (root, weight) with a number as weight"
        )
    return cast("Root", given), cast("float | None", weight)


def open_dataset(
    stores: Sequence[Store],
    weights: Sequence[float | None] | None,
    *,
    split: str,
    clip: ClipConfig,
    config: LoaderConfig,
) -> OpenDataset:
    """Read the manifests, and with sliding windows the sidecars.

    Args:
        stores: one for each root.
        weights: of a mixture, as `list_sources` gives them; None for one dataset.
        split: of each of them.
        clip: what a clip is.
        config: how it is ordered.

    Raises:
        ConfigError: labels or sound of the sources differ, or a source would never be read.
        ManifestError, StorageError: a dataset cannot be opened, or has no such split.
    """
    is_mixture = weights is not None
    manifests = [Manifest.load(store) for store in stores]
    entries = [manifest.split(split) for manifest in manifests]
    readers = tuple(
        ShardReader(store, entry, verify_checksums=config.verify_checksums)
        for store, entry in zip(stores, entries, strict=True)
    )
    tables = [
        split_items(reader, entry, clip) for reader, entry in zip(readers, entries, strict=True)
    ]
    num_clips = [sum(table.shard_sizes) for table in tables]
    shares = tuple(num_clips)
    if weights is not None:
        shares = _shares([store.url for store in stores], weights, num_clips, split=split)
    sources = tuple(
        SourceInfo(
            url=store.url,
            split=split,
            fingerprint=manifest.fingerprint(split),
            num_samples=entry.num_samples,
            num_clips=clips,
            clips_per_epoch=share,
            endpoint=store.location.endpoint,
            region=store.location.region,
            anonymous=store.location.anonymous,
        )
        for store, manifest, entry, clips, share in zip(
            stores, manifests, entries, num_clips, shares, strict=True
        )
    )
    clip_sources = [
        SampleSource(reader, clip=clip, seed=source_seed(config.seed, number))
        for number, reader in enumerate(readers)
    ]
    return OpenDataset(
        manifest=_mixed(manifests, sources) if is_mixture else manifests[0],
        sources=sources,
        readers=readers,
        order=(
            MixtureOrder(tables, shares, config=config)
            if is_mixture
            else DatasetOrder(tables[0], config=config, seed=config.seed)
        ),
        clips=MixedSource(clip_sources) if is_mixture else clip_sources[0],
        is_remote=not all(store.is_local for store in stores),
        mean_sample_bytes=sum(entry.num_bytes for entry in entries)
        // max(sum(entry.num_samples for entry in entries), 1),
        fingerprint=_fingerprint(sources, clip, config, is_mixture=is_mixture),
    )


def _shares(
    urls: Sequence[str], given: Sequence[float | None], num_clips: Sequence[int], *, split: str
) -> tuple[int, ...]:
    """Clips that each source gives to an epoch."""
    for url, clips in zip(urls, num_clips, strict=True):
        if clips == 0:
            raise ConfigError(f"split {split!r} of {url} is empty; leave that source out")
    weights = [
        float(clips) if weight is None else weight
        for weight, clips in zip(given, num_clips, strict=True)
    ]
    shares = share_out(sum(num_clips), weights)
    for url, weight, share in zip(urls, weights, shares, strict=True):
        if share == 0:
            raise ConfigError(
                f"with weight {weight:g} of {math.fsum(weights):g}, {url} would give none of the "
                f"{sum(num_clips)} clips of an epoch; raise its weight or leave it out"
            )
    return shares


def _mixed(manifests: Sequence[Manifest], sources: Sequence[SourceInfo]) -> Manifest:
    """What the datasets of a mixture have in common.

    Raises:
        ConfigError: they differ in what every batch has to agree on.
    """
    first = manifests[0]
    for manifest, source in zip(manifests, sources, strict=True):
        for name in ("classes", "target_names", "audio_sample_rate"):
            ours, theirs = getattr(first, name), getattr(manifest, name)
            if ours != theirs:
                raise ConfigError(
                    f"{name} of the sources differ: {ours!r} in {sources[0].url}, {theirs!r} in "
                    f"{source.url}; pack them with the same labels, in the same order, and sound"
                )
    weights = [source.clips_per_epoch for source in sources]
    return replace(
        first,
        splits={},
        channel_stats=_mixed_stats([manifest.channel_stats for manifest in manifests], weights),
        stats_num_clips=sum(manifest.stats_num_clips for manifest in manifests),
    )


def _mixed_stats(
    stats: Sequence[Mapping[str, ChannelStats]], weights: Sequence[int]
) -> dict[str, ChannelStats]:
    """Mean and deviation over clips that come in these proportions, of the planes all have."""
    mixed: dict[str, ChannelStats] = {}
    for plane in stats[0]:
        if not all(plane in one for one in stats):
            continue
        pairs = [
            (one[plane], weight / sum(weights)) for one, weight in zip(stats, weights, strict=True)
        ]
        mean = math.fsum(one.mean * part for one, part in pairs)
        square = math.fsum((one.std**2 + one.mean**2) * part for one, part in pairs)
        mixed[plane] = ChannelStats(mean=mean, std=math.sqrt(max(square - mean**2, 0.0)))
    return mixed


def _fingerprint(
    sources: Sequence[SourceInfo], clip: ClipConfig, config: LoaderConfig, *, is_mixture: bool
) -> str:
    sliding = (clip.window_seconds, clip.hop_seconds, clip.fraction)
    data = (
        ["mixture", *((source.fingerprint, source.clips_per_epoch) for source in sources)]
        if is_mixture
        else sources[0].fingerprint
    )
    return order_fingerprint(
        data,
        (config.shuffle, config.block_samples, config.shuffle_window_blocks),
        sliding if clip.has_many_windows else "a clip a sample",
    )
