"""An indexed sample and the frames wanted of it -> a small file that begins at the keyframe before.

DALI decodes a file from its first frame, wherever the wanted ones lie. The packets from the nearest
keyframe on are copied into a Matroska file in memory; nothing is decoded.
"""

from __future__ import annotations

import io
from collections import OrderedDict
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Final, TypeAlias

import av
import numpy as np
from av.container import InputContainer
from av.container.output import OutputContainer
from av.error import FFmpegError

from fmrgb_stream.clips.media import main_streams
from fmrgb_stream.sample import EncodedSample, PacketTable, SampleInfo

if TYPE_CHECKING:
    from av.video.stream import VideoStream

    from fmrgb_stream.sample import IntArray

MAX_TEMPLATES: Final = 4
"""Opened samples whose stream headers are kept; samples packed alike share one."""
_TICK: Final = Fraction(1, 1000)
"""Matroska's own; packets only need times in order, one tick apart."""
_Identity: TypeAlias = tuple[str, bytes, int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """Part of a sample's video."""

    content: bytes
    """A Matroska file."""
    frame_indices: IntArray
    """int64 [N]: where the wanted frames are in it, in presentation order from 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PacketRange:
    """Packets to copy, in decode order."""

    first: int
    stop: int
    ranks: IntArray
    """int64 [stop - first]: the place of each packet's frame among these, when shown."""
    frame_indices: IntArray
    """int64 [N]: the wanted frames, counted from the first that these packets show."""


def packets_to_copy(table: PacketTable, frame_indices: IntArray) -> PacketRange | None:
    """The packets from the last keyframe that helps up to the last one wanted.

    None when decoding must begin with the first packet anyway, or the times do not tell frames
    apart. A keyframe helps when no later packet shows a frame before it (closed GOP).
    """
    order = np.argsort(table.pts, kind="stable")
    if len(np.unique(table.pts)) != len(table.pts) or not len(frame_indices):
        return None
    packets = order[frame_indices]
    earliest_later = np.minimum.accumulate(table.pts[::-1])[::-1]
    starts = np.flatnonzero(table.is_key & (earliest_later == table.pts))
    place = int(np.searchsorted(starts, packets.min(), side="right")) - 1
    if place < 0 or starts[place] == 0:
        return None
    first = int(starts[place])
    stop = int(packets.max()) + 1
    shown = np.argsort(table.pts[first:stop], kind="stable")
    ranks = np.empty(stop - first, np.int64)
    ranks[shown] = np.arange(stop - first)
    return PacketRange(first=first, stop=stop, ranks=ranks, frame_indices=ranks[packets - first])


class GopCutter:
    """Cuts samples. Belongs to one thread, which keeps stream headers to copy from."""

    def __init__(self) -> None:
        """Nothing is opened yet."""
        self._templates: OrderedDict[_Identity, InputContainer] = OrderedDict()

    def cut(self, sample: EncodedSample, frame_indices: IntArray) -> Cut | None:
        """The part of the sample that shows these frames; None where the whole is needed.

        Bytes are copied once. None also when the stream's header cannot be read, or is not what the
        index says of the sample: whoever decodes the whole finds out.
        """
        table, video = sample.info.packets, sample.video
        if table is None or video is None:
            return None
        wanted = packets_to_copy(table, frame_indices)
        if wanted is None:
            return None
        try:
            template = self._template(sample.info, video)
            if template is None:
                return None
            return Cut(
                content=_copied(template, table, video, wanted),
                frame_indices=wanted.frame_indices,
            )
        except FFmpegError:
            return None

    def _template(self, info: SampleInfo, video: memoryview) -> VideoStream | None:
        """A stream whose header is the one of the sample's index row, whichever file it is of."""
        identity = (info.codec, info.extradata, info.width, info.height)
        container = self._templates.pop(identity, None)
        if container is None:
            opened = av.open(io.BytesIO(video), "r", format="mov")
            assert isinstance(opened, InputContainer), "opened for reading"
            # Kept, and copied from for all samples that the index describes alike: so it has to
            # be as described.
            if _identity_of(opened) != identity:
                opened.close()
                return None
            container = opened
        self._templates[identity] = container
        if len(self._templates) > MAX_TEMPLATES:
            self._templates.popitem(last=False)[1].close()
        return main_streams(container)[0]


def _identity_of(container: InputContainer) -> _Identity | None:
    stream = main_streams(container)[0]
    if stream is None:
        return None
    context = stream.codec_context
    return stream.codec.name, bytes(context.extradata or b""), context.width, context.height


def _copied(
    template: VideoStream, table: PacketTable, video: memoryview, wanted: PacketRange
) -> bytes:
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="matroska") as output:
        assert isinstance(output, OutputContainer), "opened for writing"
        stream = output.add_stream_from_template(template)
        # Frames that are shown before they are decoded would have times before their own dts.
        delay = int(np.max(np.arange(len(wanted.ranks)) - wanted.ranks, initial=0))
        part = slice(wanted.first, wanted.stop)
        columns = (table.offsets[part], table.sizes[part], table.is_key[part], wanted.ranks)
        rows = zip(*(column.tolist() for column in columns), strict=True)
        for place, (offset, size, is_key, rank) in enumerate(rows):
            packet = av.Packet(video[offset : offset + size])  # pyright: ignore[reportArgumentType]
            packet.stream = stream
            packet.time_base = _TICK
            packet.pts, packet.dts = rank + delay, place
            packet.is_keyframe = is_key
            output.mux(packet)
    return buffer.getvalue()
