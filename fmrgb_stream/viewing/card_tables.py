"""Cards -> rich tables."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from rich.markup import escape
from rich.table import Table

from fmrgb_stream.shards.members import COMPANION_EXTENSIONS
from fmrgb_stream.viewing.dataset_card import DatasetCard, Spread
from fmrgb_stream.viewing.sample_card import SampleCard, sync_text

_NUM_VALUES: Final = 6
"""Different sizes, rates and codecs that are listed before the rest is only counted."""
_NUM_CLASSES: Final = 60
_NUM_TIMES: Final = 12
_MEMBER_COLUMNS: Final = ("offset", "bytes", "crc32c")
_SOURCE_FIELDS: Final = ("source", "start_seconds", "warnings")


def dataset_tables(card: DatasetCard) -> Iterator[Table]:
    """Splits, classes, targets, media and channel statistics; tables that would be empty are left out."""
    yield _splits(card)
    if card.classes:
        yield _classes(card)
    if card.targets:
        yield _targets(card)
    yield _two_columns("Media", _media_rows(card))
    if card.channel_stats:
        yield _statistics(card)


def sample_tables(card: SampleCard) -> Iterator[Table]:
    """What the sample is, where it lies, its picture, times and sound."""
    yield _two_columns(f"Sample {card.key}", _identity_rows(card))
    members = _numbers("Members, bytes in the shard", "member", *_MEMBER_COLUMNS)
    for member in card.members:
        members.add_row(
            escape(f".{member.extension}"),
            f"{member.offset}",
            f"{member.size}",
            f"{member.crc32c:08x}",
        )
    yield members
    yield _two_columns("Picture and sound", _media_of_sample(card))


def _splits(card: DatasetCard) -> Table:
    names = ("split", "samples", "groups", "hours", "MB", "shards", "MB a shard")
    table = _numbers(f"Dataset {card.root}", *names)
    for split in card.splits:
        table.add_row(
            escape(split.name),
            str(split.num_samples),
            str(split.num_groups),
            f"{split.duration_seconds / 3600:.3f}",
            f"{split.num_bytes / 1e6:.1f}",
            str(split.num_shards),
            _ends(split.shard_bytes, scale=1e-6, digits=1),
        )
    if len(card.splits) > 1:
        table.add_section()
        table.add_row(
            "all",
            str(card.num_samples),
            str(sum(split.num_groups for split in card.splits)),
            f"{card.duration_seconds / 3600:.3f}",
            f"{card.num_bytes / 1e6:.1f}",
            str(sum(split.num_shards for split in card.splits)),
        )
    return table


def _classes(card: DatasetCard) -> Table:
    table = _numbers("Samples by class", "class", *(split.name for split in card.splits))
    for name in card.classes[:_NUM_CLASSES]:
        counts = [split.samples_by_class[name] for split in card.splits]
        table.add_row(escape(name), *(str(count) if count else "[red]0[/]" for count in counts))
    left_out = len(card.classes) - _NUM_CLASSES
    if left_out > 0:
        table.add_row(f"{left_out} more: --json lists all")
    return table


def _targets(card: DatasetCard) -> Table:
    table = _numbers("Targets", "target", "least", "median", "most")
    for name, spread in card.targets.items():
        row = (f"{x:.4g}" for x in (spread.least, spread.median, spread.most))
        table.add_row(escape(name), *row)
    return table


def _media_rows(card: DatasetCard) -> Iterator[tuple[str, str]]:
    yield "codec", _counts(card.codecs)
    yield "size, pixels", _counts(card.sizes)
    yield "frames a second", _counts(card.frame_rates)
    yield "audio rate, Hz", _counts(card.audio_rates)
    yield "seconds a sample", _spread(card.sample_seconds, digits=2)
    yield "frames a sample", _spread(card.sample_frames)
    yield "without picture", str(card.num_without_video)
    yield "without sound", str(card.num_without_audio)
    yield "without label or target", str(card.num_unlabelled)
    yield "variable frame rate", str(card.num_variable_rate)
    yield "stored rotated", str(card.num_rotated)
    yield "without packet table", str(card.num_without_packets)


def _statistics(card: DatasetCard) -> Table:
    table = _numbers("Channels, 0..1", "plane", "mean", "std")
    table.caption = f"of {card.stats_num_clips} train clips"
    for name, stats in card.channel_stats.items():
        table.add_row(escape(name), f"{stats.mean:.4f}", f"{stats.std:.4f}")
    return table


def _identity_rows(card: SampleCard) -> Iterator[tuple[str, str]]:
    yield "split", f"{card.split}, sample {card.sample_id}"
    yield "shard", f"{card.shard}, row {card.row}"
    yield "sidecar", card.sidecar
    yield "group", card.group
    if card.label_name is not None:
        yield "label", f"{card.label_name} ({card.label})"
    for name, value in card.targets.items():
        yield f"target {name}", f"{value:.6g}"
    if card.label is None and not card.targets:
        yield "label", "none"
    for name in _SOURCE_FIELDS:
        if card.source.get(name):
            yield name.replace("_", " "), str(card.source[name])


def _media_of_sample(card: SampleCard) -> Iterator[tuple[str, str]]:
    times = card.times
    yield "duration", f"{card.duration_seconds:.3f} s, {card.num_frames} frames"
    if card.has_video:
        turned = f", turned by {card.rotation_degrees} to be upright" * bool(card.rotation_degrees)
        size = f"{card.width}x{card.height}{turned}"
        yield "picture", f"{card.codec} {size}, {card.color_matrix} {card.color_range} range"
        if card.crop is not None:
            yield "crop", card.crop
        companions = [m.extension for m in card.members if m.extension in COMPANION_EXTENSIONS]
        if companions:
            yield "beside the picture", ", ".join(companions)
    else:
        yield "picture", "none; frames are ticks of a virtual timeline"
    rate = "variable, about" if times.is_variable_rate else "constant,"
    yield "frame rate", f"{rate} {card.fps:g} a second"
    yield "from frame to frame", f"{_spread(times.gap_milliseconds, digits=2)} ms"
    if times.is_variable_rate:
        shown = ", ".join(f"{x:.3f}" for x in times.frame_seconds[:_NUM_TIMES])
        more = len(times.frame_seconds) - _NUM_TIMES
        yield "frame times, s", shown + (f", and {more} more (--json)" if more > 0 else "")
    yield from _packet_rows(card)
    if card.has_audio:
        seconds = card.num_audio_samples / card.audio_sample_rate
        yield (
            "sound",
            f"{card.audio_sample_rate} Hz, {card.num_audio_samples} samples, {seconds:.3f} s",
        )
    else:
        yield "sound", "none"
    if card.sync_residual_seconds is not None:
        text = sync_text(card.sync_residual_seconds)
        yield "sound ends", f"{text}, by the index; both begin at 0"
    for line in card.streams:
        yield "stream", line


def _packet_rows(card: SampleCard) -> Iterator[tuple[str, str]]:
    packets = card.packets
    if packets is None:
        return
    where = "in the index" if packets.is_in_index else "in the container only"
    spread = _spread(packets.packet_bytes)
    yield "packets", f"{packets.num_packets}, {spread} bytes, listed {where}"
    pairs = zip(packets.keyframes, packets.keyframe_seconds, strict=True)
    shown = [f"{frame} ({seconds:.2f} s)" for frame, seconds in pairs]
    more = len(shown) - _NUM_TIMES
    text = ", ".join(shown[:_NUM_TIMES]) + (f", and {more} more (--json)" if more > 0 else "")
    yield f"{len(shown)} keyframes", text


def _numbers(title: str, first: str, *others: str) -> Table:
    table = Table(title=escape(title), title_justify="left")
    table.add_column(first)
    for name in others:
        table.add_column(escape(name), justify="right")
    return table


def _two_columns(title: str, rows: Iterable[tuple[str, str]]) -> Table:
    table = Table(title=escape(title), title_justify="left", show_header=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in rows:
        table.add_row(escape(name), escape(value))
    return table


def _counts(values: Mapping[str, int]) -> str:
    if not values:
        return "none"
    if len(values) == 1:
        return next(iter(values))
    parts = [f"{value} ({count})" for value, count in list(values.items())[:_NUM_VALUES]]
    left_out = len(values) - _NUM_VALUES
    return ", ".join(parts) + (f", {left_out} more" if left_out > 0 else "")


def _ends(spread: Spread | None, *, scale: float, digits: int) -> str:
    """`least..most`, or the one value that all have."""
    if spread is None:
        return "none"
    texts = [f"{value * scale:.{digits}f}" for value in (spread.least, spread.most)]
    return texts[0] if texts[0] == texts[1] else "..".join(texts)


def _spread(spread: Spread | None, *, digits: int = 0) -> str:
    """`least..median..most`, or the one value that all have."""
    if spread is None:
        return "none"
    texts = [f"{value:.{digits}f}" for value in (spread.least, spread.median, spread.most)]
    return texts[0] if len(set(texts)) == 1 else "..".join(texts)
